"""`flask top` and `flask tail` where there is no spool: on a queue, and in S3 alone."""

import dataclasses
from pathlib import Path

from click.testing import CliRunner, Result
from flask.cli import FlaskGroup

from app.factory import create_app
from tests.support.bench import settings_for
from tests.support.figures import process
from tests.support.redis.fixtures import own_redis
from tests.support.redis.server import RedisProcess
from workers.figures.published import Published
from workers.figures.queued import QueuedPlace
from workers.pipeline import Pipeline
from workers.queue.redis_client import RedisServer
from workers.settings.queue import read_redis_url
from workers.settings.settings import Settings
from workers.spool.counters import Counters

__all__ = ["own_redis"]


def run(settings: Settings, *words: str) -> Result:
    """Run a command in this process; none may start a pipeline."""

    def no_pipeline() -> Pipeline:
        raise AssertionError("a command started a pipeline")

    group = FlaskGroup(create_app=lambda: create_app(settings, pipeline=no_pipeline))
    return CliRunner().invoke(group, words)


def on_queue(root: Path, url: str) -> Settings:
    """Make settings of a process on a queue."""
    return settings_for(root, DURABILITY="queue", QUEUE_URL=url, RECEIPT_SECRET="s")


def test_top_shows_the_machines_of_a_queue(tmp_path: Path, own_redis: RedisProcess) -> None:
    """From any machine that reaches it; while it is away that is said, in one line."""
    server = RedisServer(read_redis_url(own_redis.url))
    settings = on_queue(tmp_path, own_redis.url)
    assert run(settings, "top").stdout.startswith("No process of the service is running.")
    place = QueuedPlace(server, counters=Counters.anonymous(), max_bytes=lambda: 1 << 20)
    place.write(process(machine="alpha", pid=77, role="web", workers=[]))
    shown = run(settings, "top").stdout
    assert shown.startswith("Nothing has been accepted yet.\n")
    assert "0 B of 1 MiB" in shown
    assert "\nalpha     77  " in shown
    own_redis.kill()
    away = run(settings, "top")
    assert away.exit_code == 1
    assert away.stderr.startswith("Error: QUEUE_URL cannot be read: the Redis server does not")
    server.forget()


def test_top_shows_what_waits_for_s3(tmp_path: Path) -> None:
    """With DURABILITY=stored each process shows itself in memory."""
    stored = settings_for(tmp_path, DURABILITY="stored")
    settings = dataclasses.replace(stored, spool_dir=tmp_path)
    Published(tmp_path).write(process(pid=77))
    shown = run(settings, "top").stdout
    assert shown.startswith("Nothing has been accepted yet.\n")
    assert "\n 77  " in shown


def test_what_is_not_offered_is_said(tmp_path: Path) -> None:
    """In one line, with the settings that it would need."""
    sqs = "sqs://eu-west-1/123456789012/q"
    top = run(on_queue(tmp_path, sqs), "top")
    assert (top.exit_code, top.stderr.count("\n")) == (1, 1)
    assert "SQS" in top.stderr
    tail = run(on_queue(tmp_path, sqs), "tail", "orders")
    assert tail.exit_code == 1
    assert tail.stderr == "Error: payloads can be followed only with DURABILITY=disk\n"
