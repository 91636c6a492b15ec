"""`flask segments` beside a running pipeline whose bucket is not there."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.cli import FlaskGroup

from app.factory import create_app
from tests.support import wait_until
from tests.support.bench import settings_for
from tests.support.s3 import FakeS3
from workers.dispatch import backoff
from workers.pipeline import Pipeline
from workers.settings.settings import Settings
from workers.spool.counters import Field
from workers.upload import decided
from workers.upload.s3 import Bucket

Run = Callable[..., Result]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Make settings with a bucket that there is not."""
    return settings_for(
        tmp_path / "spool",
        S3_BUCKET="no-such-bucket",
        # An open segment of a bucket that fails stays open.
        OBJECT_MAX_PAYLOADS=1,
        DRAIN_SECONDS=2,
        MAX_WORKERS=2,
    )


@pytest.fixture
def pipeline(
    settings: Settings, real_bucket: Bucket, s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pipeline]:
    """Run a pipeline whose decisions need no time to settle."""
    del s3
    monkeypatch.setattr(decided, "SETTLE_SECONDS", 0.0)
    for name in ("BASE_SECONDS", "CAP_SECONDS"):
        monkeypatch.setattr(backoff, name, 0.05)
    pipeline = Pipeline(settings, bucket=real_bucket)
    pipeline.start()
    yield pipeline
    pipeline.stop()


@pytest.fixture
def run(settings: Settings) -> Run:
    """Run a command as `flask` does."""

    def no_pipeline() -> Pipeline:
        raise AssertionError("a command started a pipeline")

    app = create_app(settings, pipeline=no_pipeline)
    flask = FlaskGroup(create_app=lambda: app)
    return lambda *words: CliRunner().invoke(flask, ["segments", *words])


def accept(pipeline: Pipeline, payload: bytes, *, stream: str) -> str:
    """Accept a payload; return its segment's name."""
    [receipt] = pipeline.take(stream, payload + b"\n", count=1).result()
    return receipt.header.name


def until(pipeline: Pipeline, field: Field, figure: int) -> None:
    """Wait for a figure."""
    reached = lambda: pipeline.totals()[field] == figure  # noqa: E731
    wait_until(reached, timeout=50, what=f"{field.name} to be {figure}")


def until_said(command: Callable[[], str], said: Callable[[str], bool], what: str) -> None:
    """Wait for what a command prints: a file goes after it is counted, a cause after its job."""
    wait_until(lambda: said(command()), timeout=50, what=what)


def test_segments_of_a_misspelt_bucket(run: Run, pipeline: Pipeline, s3: FakeS3) -> None:
    """They are listed and shown, and all go to the right bucket, while the service runs."""
    names = [accept(pipeline, b'{"n":%d}' % n, stream=f"s{n}") for n in range(3)]
    listed = run("list")
    assert [line.split("  ")[0] for line in listed.stdout.splitlines()] == sorted(names)
    assert "s3://no-such-bucket/s1/" in listed.stdout
    until_said(
        lambda: run("list").stdout,
        lambda said: said.count("ready; bucket") == 3,
        "the cause of all three",
    )
    assert run("show", names[1]).stdout == '{"n":1}\n'
    result = run("reroute", "--all-of", "no-such-bucket", "--bucket", s3.bucket)
    assert result.stdout.startswith(f"3 segments go to {s3.bucket}")
    until(pipeline, Field.STORED, 3)
    assert sorted(line for _, _, line in s3.lines()) == [b'{"n":%d}' % n for n in range(3)]
    until_said(lambda: run("list").stdout, lambda said: not said, "the end of their files")


def test_a_segment_is_buried(run: Run, pipeline: Pipeline) -> None:
    """A segment that cannot be stored becomes a dead letter, while the service runs."""
    name = accept(pipeline, b"{}", stream="s")
    assert run("bury", name).stdout.startswith("1 segment becomes a dead letter, ")
    until(pipeline, Field.DEAD, 1)
    until_said(
        lambda: run("show", name).stderr,
        lambda said: said.startswith(f"Error: {name} is a dead letter"),
        "the end of its file",
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "x"], "no segment x"),
        (["bury", "x"], "no segment x"),
        (["reroute", "x", "--bucket", "other"], "no segment x"),
        (["reroute", "x", "--bucket", "Not_A_Bucket"], "is not a bucket's name"),
    ],
)
def test_mistakes_are_named(run: Run, pipeline: Pipeline, words: list[str], said: str) -> None:
    """A wrong name of a segment, or of a bucket, is one sentence."""
    del pipeline
    result = run(*words)
    assert result.exit_code != 0
    assert said in result.stderr
