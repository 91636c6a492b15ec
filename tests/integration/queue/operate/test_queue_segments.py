"""`flask segments` where machines share a queue: of all of them, with the states of the queue."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.cli import FlaskGroup

from app.factory import create_app
from tests.integration.app.application import Service
from tests.integration.queue.conftest import MakeMachine
from tests.support import wait_until
from tests.support.bench import settings_for
from tests.support.redis.server import RedisProcess
from tests.support.s3 import FakeS3, Fault
from workers.operate import queued_segments
from workers.pipeline import Pipeline
from workers.upload.s3 import Bucket

Run = Callable[..., Result]


def no_pipeline() -> Pipeline:
    """Fail: a command starts none."""
    raise AssertionError("a command started a pipeline")


@pytest.fixture
def environ(shared_redis: RedisProcess, s3: FakeS3) -> dict[str, str]:
    """Return the settings of all processes and commands."""
    given = {"DURABILITY": "queue", "RECEIPT_SECRET": "s", "QUEUE_URL": shared_redis.url}
    return {**given, "S3_BUCKET": s3.bucket}


@pytest.fixture
def run(tmp_path: Path, environ: dict[str, str]) -> Run:
    """Run `flask segments`."""
    settings = settings_for(tmp_path, **environ)
    flask = FlaskGroup(create_app=lambda: create_app(settings, pipeline=no_pipeline))
    return lambda *words: CliRunner().invoke(flask, ["segments", *words])


def test_states_are_those_of_the_queue(
    machine: MakeMachine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open, ready and leased ones, oldest first, in any number of pages; stored ones are gone."""
    monkeypatch.setattr(queued_segments, "AT_ONCE", 2)
    web, worker = machine(), machine(most=2)
    opened = [web.open("orders") for _ in range(5)]
    for number, segment in enumerate(opened):
        assert web.refused((segment, b'{"n":%d}\n' % number)) is None
    for segment in opened[:4]:
        web.seal(segment)
    jobs = worker.take()
    worker.finish(jobs[0])
    found = run("list")
    assert found.exit_code == 0, found.output
    lines = [line.split("  ") for line in found.stdout.splitlines()]
    assert [line[0] for line in lines] == [segment.name for segment in opened[1:]]
    assert [line[-1] for line in lines] == ["leased", "ready", "ready", "open"]
    assert lines[0][1:4] == ["orders", f"s3://b/{opened[1].header.key}", "1 payload"]
    assert run("show", opened[1].name).stdout == '{"n":1}\n'
    assert "no segment" in run("show", opened[0].name).output


def test_nothing_waits(run: Run) -> None:
    """An empty list says so on standard error."""
    found = run("list")
    assert (found.exit_code, found.stdout) == (0, "")
    assert "nothing waits in the queue" in found.stderr


@pytest.fixture
def worker(
    tmp_path: Path, environ: dict[str, str], real_bucket: Bucket, s3: FakeS3
) -> Iterator[Service]:
    """Run a process whose PUTs are denied."""
    s3.faults(Fault(kind="error", status=403, code="AccessDenied"))
    service = Service(tmp_path, bucket=real_bucket, **environ)
    yield service
    s3.clear()
    service.pipeline.stop()


def test_what_fails_is_parked_with_its_reason(worker: Service, run: Run) -> None:
    """As the workers of all machines show it; a decision where they go is not offered."""
    assert worker.post([{"n": 1}]).status_code == 202

    def is_parked() -> bool:
        return "parked; denied" in run("list").stdout

    wait_until(is_parked, timeout=20, what="the failure")
    assert "parked: 1 denied" in run("list").stderr
    name = run("list").stdout.split()[0]
    for words in (["reroute", name, "--bucket", "other"], ["bury", name]):
        decided = run(*words)
        assert decided.exit_code == 1
        assert "go to the bucket that they were made for" in decided.output


def test_a_server_that_is_away(tmp_path: Path, environ: dict[str, str]) -> None:
    """The command says so, without a traceback."""
    settings = settings_for(tmp_path, **{**environ, "QUEUE_URL": "redis://127.0.0.1:1"})
    flask = FlaskGroup(create_app=lambda: create_app(settings, pipeline=no_pipeline))
    found = CliRunner().invoke(flask, ["segments", "list"])
    assert found.exit_code == 1
    assert "Error: the Redis server does not answer" in found.output
