"""The commands that watch: `flask top`, `flask tail`, lists of a time, and their progress."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.cli import FlaskGroup

from app.cli import progress
from app.factory import create_app
from tests.support import ROOT, wait_until
from tests.support.bench import settings_for
from tests.support.s3 import FakeS3, Fault
from workers.pipeline import Pipeline
from workers.settings.settings import Settings
from workers.spool.counters import Field
from workers.upload.s3 import Bucket

FLASK = [sys.executable, "-m", "flask", "--app", "wsgi"]


@pytest.fixture
def settings(tmp_path: Path, s3: FakeS3) -> Settings:
    """Make settings of a service that seals at once."""
    return settings_for(tmp_path / "spool", S3_BUCKET=s3.bucket, OBJECT_MAX_PAYLOADS=1)


@pytest.fixture
def pipeline(settings: Settings, real_bucket: Bucket, s3: FakeS3) -> Iterator[Pipeline]:
    """Run a pipeline."""
    pipeline = Pipeline(settings, bucket=real_bucket)
    pipeline.start()
    yield pipeline
    s3.listen_again()
    s3.clear()
    pipeline.stop()


@pytest.fixture
def environ(settings: Settings, s3: FakeS3) -> dict[str, str]:
    """Return the environment of a command as a process of its own."""
    given = {"S3_BUCKET": s3.bucket, "SPOOL_DIR": str(settings.spool_dir), "TERM": "xterm"}
    return {"PATH": os.environ["PATH"], **s3.environ(), **given}


def run(settings: Settings, *words: str) -> Result:
    """Run a command in this process; none may start a pipeline."""

    def no_pipeline() -> Pipeline:
        raise AssertionError("a command started a pipeline")

    group = FlaskGroup(create_app=lambda: create_app(settings, pipeline=no_pipeline))
    return CliRunner().invoke(group, words)


def accept(pipeline: Pipeline, *payloads: bytes, stream: str = "s") -> None:
    """Accept payloads one by one."""
    for payload in payloads:
        pipeline.take(stream, payload + b"\n", count=1).result()


def until(pipeline: Pipeline, field: Field, figure: int) -> None:
    """Wait for a figure."""
    wait_until(lambda: pipeline.totals()[field] == figure, timeout=30, what=f"{field.name}")


def test_top_says_plainly_what_the_console_says(
    settings: Settings, pipeline: Pipeline, s3: FakeS3
) -> None:
    """Where there is no terminal it prints once; without a running process too."""
    accept(pipeline, b'{"n":1}', stream="orders")
    until(pipeline, Field.STORED, 1)

    def begins(text: str) -> bool:
        return run(settings, "top").stdout.startswith(text)

    wait_until(lambda: begins("Everything is in S3.\n"), timeout=20, what="the figures")
    wait_until(lambda: "orders/dt=" in run(settings, "top").stdout, timeout=20, what="the object")
    s3.stop_listening()
    accept(pipeline, b'{"n":2}', stream="orders")
    wait_until(lambda: begins("1 payload is not in S3"), timeout=20, what="the outage")
    shown = run(settings, "top", "--once").stdout
    assert "Could not connect to the endpoint URL" in shown
    assert re.search(r"What fails now\nWhat +Reason +Since +Tries +Waiting +Last error\n", shown)
    s3.listen_again()
    until(pipeline, Field.STORED, 2)
    pipeline.stop()
    assert run(settings, "top").stdout.startswith("No process of the service is running.")


def test_top_is_live_in_a_terminal(environ: dict[str, str], settings: Settings) -> None:
    """It draws, and ends with Ctrl-C; without a spool it says so."""
    assert "cannot be read" in run(settings, "top").stderr
    settings.spool_dir.mkdir()
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [*FLASK, "top"], cwd=ROOT, env=environ, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):
        while b"No process of the service is running." not in shown:
            shown += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        while data := os.read(ours, 4096):
            shown += data
    os.close(ours)
    assert process.wait(30) == 0
    assert b"Accepted/s" in shown
    assert b"Traceback" not in shown


def test_tail_prints_what_is_accepted(environ: dict[str, str], pipeline: Pipeline) -> None:
    """Of the stream that is asked for, by a running service; it ends with Ctrl-C, or its reader."""
    command = [*FLASK, "tail", "or*"]
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        number = 0
        os.set_blocking(process.stdout.fileno(), False)
        line = None
        while line is None:
            # From when on it follows is not known: until the first is seen.
            number += 1
            accept(pipeline, b'{"other":1}', b'{"n":%d}' % number, stream="orders")
            time.sleep(0.05)
            line = process.stdout.readline() or None
        assert line in (b'{"other":1}\n', b'{"n":%d}\n' % number)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_tail_is_for_the_disk(tmp_path: Path) -> None:
    """In memory mode there is nothing to follow, and it says so."""
    result = run(settings_for(tmp_path, DURABILITY="memory"), "tail", "s")
    assert result.exit_code == 1
    assert "DURABILITY=disk" in result.stderr


def test_objects_since_are_listed(
    settings: Settings, pipeline: Pipeline, real_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a time, one a line, without their payloads."""
    monkeypatch.setattr(Bucket, "connect", lambda *_, **__: real_bucket)
    accept(pipeline, b'{"n":1}', b'{"n":2}')
    until(pipeline, Field.STORED, 2)
    listed = run(settings, "objects", "--since", "10m")
    assert len(re.findall(r"^\d{4}-.*Z  s3://bucket-\d+/s/dt=", listed.stdout, re.MULTILINE)) == 2
    assert run(settings, "objects", "--since", "2999-01-01T00:00").stdout == ""
    wrong = run(settings, "objects", "--since", "yesterday")
    assert wrong.exit_code == 2
    assert "10m" in wrong.stderr


def test_all_dead_letters_are_replayed(
    settings: Settings,
    pipeline: Pipeline,
    s3: FakeS3,
    real_bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With one command, which goes on after one that cannot be read, and then fails."""
    monkeypatch.setattr(Bucket, "connect", lambda *_, **__: real_bucket)
    s3.faults(Fault(kind="error", status=400, code="EntityTooLarge"))
    accept(pipeline, b'{"n":1}', b'{"n":2}', b'{"n":3}')
    until(pipeline, Field.DEAD, 3)
    s3.clear()
    broken = settings.spool_dir / "dead" / "20000101T000000000000Z-0000000000000000.json"
    broken.write_text("{")
    result = run(settings, "dead-letters", "replay", "--all")
    assert result.stdout.startswith("3 payloads of 3 dead letters go up")
    assert "not replayed: 20000101T" in result.stderr
    assert result.exit_code == 1
    pipeline.adopt_now()
    until(pipeline, Field.STORED, 3)
    assert run(settings, "dead-letters", "replay").exit_code == 2


def test_progress_is_for_terminals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Elsewhere nothing of it is printed, and everything is yielded."""
    numbers = list(range(2500))
    assert list(progress.with_bar(numbers, "done")) == numbers
    assert list(progress.counted(numbers, "listed")) == numbers
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(progress.with_bar(numbers, "done")) == numbers
    assert list(progress.counted(numbers, "listed")) == numbers
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "2500/2500" in shown.err
    assert "listed: 2,500" in shown.err
