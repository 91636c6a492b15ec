"""What the commands say when there is nothing to list, and when they cannot go on."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.cli import FlaskGroup

from app.factory import create_app
from tests.support.bench import settings_for
from tests.support.s3 import FakeS3, Fault
from workers.pipeline import Pipeline
from workers.upload.s3 import Bucket

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, s3: FakeS3, real_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command as `flask` does, on an empty spool."""
    monkeypatch.setattr(Bucket, "connect", lambda *_, **__: real_bucket)

    def no_pipeline() -> Pipeline:
        raise AssertionError("a command started a pipeline")

    app = create_app(settings_for(tmp_path / "spool", S3_BUCKET=s3.bucket), pipeline=no_pipeline)
    flask = FlaskGroup(create_app=lambda: app)
    return lambda *words: CliRunner().invoke(flask, words)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("segments", "no segments: nothing waits in the spool\n"),
        ("dead-letters", "no dead letters\n"),
    ],
)
def test_an_empty_list_says_so(run: Run, command: str, said: str) -> None:
    """A person sees that there are none; a script that reads the list gets nothing."""
    result = run(command, "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", said)


def test_a_check_lists_once_what_it_did_not_try(run: Run, s3: FakeS3) -> None:
    """After the failure that matters comes one line, and not one failure for each step."""
    s3.faults(Fault(kind="error", status=403, code="AccessDenied"))
    result = run("check")
    assert result.exit_code == 1
    spool, put, skipped = result.stdout.splitlines()
    assert spool.startswith("ok   spool")
    assert put.startswith("FAIL put")
    assert skipped.startswith("skip not tried without an object: put it again: refused; head;")
    assert skipped.endswith("; delete")
