"""The commands for operators, beside a running pipeline and against a real S3 protocol."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.cli import FlaskGroup

from app.factory import create_app
from tests.support import wait_until
from tests.support.bench import settings_for
from tests.support.s3 import FakeS3, Fault
from workers.dispatch import backoff
from workers.pipeline import Pipeline
from workers.settings.settings import Settings
from workers.spool.counters import Field
from workers.stores.job_source import AdoptedJobs
from workers.upload.s3 import Bucket

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _shared_client(real_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands connect with the client that there is: making one takes long."""
    monkeypatch.setattr(Bucket, "connect", lambda *_, **__: real_bucket)
    monkeypatch.setattr(backoff, "BASE_SECONDS", 0.02)
    monkeypatch.setattr(AdoptedJobs, "look_seconds", 0.02)


@pytest.fixture
def settings(tmp_path: Path, s3: FakeS3) -> Settings:
    """Make settings that the commands and the pipeline share."""
    return settings_for(
        tmp_path / "spool",
        S3_BUCKET=s3.bucket,
        MAX_WORKERS=2,
        OBJECT_MAX_AGE_SECONDS=0.02,
        DRAIN_SECONDS=5,
    )


@pytest.fixture
def pipeline(settings: Settings, real_bucket: Bucket, s3: FakeS3) -> Iterator[Pipeline]:
    """Run a pipeline."""
    pipeline = Pipeline(settings, bucket=real_bucket)
    pipeline.start()
    yield pipeline
    s3.clear()
    pipeline.stop()


@pytest.fixture
def run(settings: Settings) -> Run:
    """Run a command as `flask` does. None of them may start a pipeline."""

    def no_pipeline() -> Pipeline:
        raise AssertionError("a command started a pipeline")

    app = create_app(settings, pipeline=no_pipeline)
    flask = FlaskGroup(create_app=lambda: app)
    return lambda *words: CliRunner().invoke(flask, words)


def accept(pipeline: Pipeline, *payloads: bytes, stream: str = "s") -> tuple[str, str]:
    """Accept payloads; return their receipt's id and the name of their segment."""
    lines = b"".join(payload + b"\n" for payload in payloads)
    [receipt] = pipeline.take(stream, lines, count=len(payloads)).result()
    return pipeline.receipts.issue(receipt), receipt.header.name


def until(pipeline: Pipeline, **figures: int) -> None:
    """Wait until the books say so."""
    wanted = {Field[name.upper()]: figure for name, figure in figures.items()}

    def reached() -> bool:
        totals = pipeline.totals()
        return all(totals[field] == figure for field, figure in wanted.items())

    wait_until(reached, timeout=50, what=str(figures))


# --- objects --------------------------------------------------------------------------------------


def test_objects_are_printed(run: Run, pipeline: Pipeline) -> None:
    """The newest objects, lines on standard output and what they are on standard error."""
    for number in range(4):
        accept(pipeline, b'{"n":%d}' % number, stream=f"s{number}")
        until(pipeline, stored=number + 1)
    result = run("objects", "--newest", "2")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr.startswith("4 objects")
    one = run("objects", "--prefix", "s1/")
    assert one.stdout == '{"n":1}\n'
    assert one.stderr.startswith("1 object in ")


def test_objects_of_a_bucket_that_is_away(run: Run, s3: FakeS3) -> None:
    """What is wrong is one sentence, and not a traceback."""
    s3.faults(Fault(kind="error", methods=["GET"], status=403, code="AccessDenied"))
    result = run("objects")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "AccessDenied" in result.stderr


# --- receipt --------------------------------------------------------------------------------------


def test_a_receipt_s_payloads_are_printed(run: Run, pipeline: Pipeline) -> None:
    """The lines of that receipt, out of S3, byte for byte."""
    id, _ = accept(pipeline, '{"n":1.50,"s":"ü"}'.encode(), b'{"n":2}')
    accept(pipeline, b'{"n":3}')
    until(pipeline, stored=3)
    result = run("receipt", id)
    assert result.exit_code == 0
    assert result.stdout_bytes == '{"n":1.50,"s":"ü"}\n{"n":2}\n'.encode()


def test_a_receipt_that_is_not_stored_says_where_it_is(
    run: Run, pipeline: Pipeline, s3: FakeS3
) -> None:
    """The answer for a payload on its way has the place where it will be."""
    s3.faults(Fault(kind="error"))
    id, name = accept(pipeline, b"{}")
    result = run("receipt", id)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert name in result.stderr
    s3.clear()
    until(pipeline, stored=1)


@pytest.mark.parametrize("id", ["x", "a.1.1.b"])
def test_a_receipt_that_is_none(run: Run, id: str) -> None:
    """An id that was never issued is reported as unknown."""
    result = run("receipt", id)
    assert (result.exit_code, result.stderr) == (1, "Error: there is no such receipt\n")


# --- dead-letters ---------------------------------------------------------------------------------


def test_a_dead_letter_there_and_back(run: Run, pipeline: Pipeline, s3: FakeS3) -> None:
    """Listed, shown, replayed; and a running service stores it where its receipt says."""
    assert run("dead-letters", "list").stdout == ""
    s3.faults(Fault(kind="error", status=400, code="EntityTooLarge", times=1))
    id, name = accept(pipeline, b'{"n":1}', b'{"n":2}')
    until(pipeline, dead=2)
    listed = run("dead-letters", "list")
    assert name in listed.stdout
    assert "2 payloads" in listed.stdout
    assert "EntityTooLarge" in listed.stdout
    shown = run("dead-letters", "show", name)
    assert shown.stdout == '{"n":1}\n{"n":2}\n'
    assert json.loads(shown.stderr)["name"] == name
    assert "dead: " in run("receipt", id).stderr
    replayed = run("dead-letters", "replay", name)
    assert replayed.exit_code == 0
    assert replayed.stdout.startswith(f"2 payloads of {name}")
    until(pipeline, stored=2, dead=0)
    assert run("receipt", id).stdout == '{"n":1}\n{"n":2}\n'
    assert run("dead-letters", "list").stdout == ""
    assert pipeline.totals()[Field.ACCEPTED] == 2
    assert not any(key.startswith("_dead/") for key in s3.objects())


@pytest.mark.parametrize("command", ["show", "replay"])
def test_a_dead_letter_that_is_none(run: Run, pipeline: Pipeline, command: str) -> None:
    """A wrong name is an error, and nothing is written."""
    del pipeline
    for name in ("x", "../lock", "20261123T235301123456Z-0123456789abcdef"):
        result = run("dead-letters", command, name)
        assert (result.exit_code, result.stderr) == (1, f"Error: no dead letter {name}\n")


# --- check ----------------------------------------------------------------------------------------


def test_a_check_that_finds_nothing(run: Run, s3: FakeS3) -> None:
    """All that the service does was tried once, and nothing is left of it."""
    result = run("check")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert all(line.startswith("ok   ") for line in lines)
    assert len(lines) == 8
    assert s3.objects() == {}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(kind="error", status=403, code="AccessDenied"), "s3:PutObject"),
        (Fault(kind="error", status=404, code="NoSuchBucket"), "no such bucket"),
        (Fault(kind="close_early"), "AWS_ENDPOINT_URL_S3"),
        (Fault(kind="error", methods=["HEAD"], status=403), "s3:GetObject"),
        (Fault(kind="error", methods=["DELETE"], status=403, code="AccessDenied"), "s3:DeleteObj"),
    ],
)
def test_a_check_names_what_is_missing(run: Run, s3: FakeS3, fault: Fault, words: str) -> None:
    """The IAM action, the bucket or the endpoint; and the exit status says that something is."""
    s3.faults(fault)
    result = run("check")
    assert result.exit_code == 1
    [failed, *_] = [line for line in result.stdout.splitlines() if line.startswith("FAIL")]
    assert words in failed


def test_a_check_with_s3_down(run: Run, s3: FakeS3) -> None:
    """Where no server listens, the endpoint is named."""
    s3.stop_listening()
    result = run("check")
    assert result.exit_code == 1
    assert "AWS_ENDPOINT_URL_S3" in result.stdout
