"""The picture of two tiers on a queue, taken where SCREENSHOTS names a directory, as root."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.acceptance.clients.chromium import Chromium
from tests.acceptance.console.console import Console
from tests.acceptance.console.test_screenshots import DIRECTORY, load, moments
from tests.acceptance.queue.conftest import SETTINGS
from tests.support.redis.server import RedisProcess, program_of
from tests.support.s3 import FakeS3, Fault
from tests.support.service import Service
from tests.support.tools import needed

PREFIX = "{bucket-brigade}"


class NamedMachine(Service):
    """A service on a machine of another name than this one."""

    name = ""

    def command(self) -> Sequence[str]:
        """Return what is executed, in a namespace for the host's name."""
        script = 'hostname "$0" && exec "$@"'
        return ["unshare", "--uts", "sh", "-c", script, self.name, *super().command()]


@contextlib.contextmanager
def named(name: str, directory: Path, s3: FakeS3, **settings: object) -> Iterator[NamedMachine]:
    """Run a service on a machine of some name."""
    home = directory / name
    home.mkdir()
    machine = NamedMachine(home, s3, settings={**SETTINGS, "OBJECT_MAX_AGE_SECONDS": 2, **settings})
    machine.name = name
    with machine:
        yield machine


def write_history(redis: RedisProcess) -> None:
    """Give the queue ten minutes of history, newest first; its ledger goes on from zero."""
    with contextlib.closing(redis.client()) as client:
        for each in moments(time.time()):
            counts = (each.accepted, each.stored, each.refused, 0, 0)
            client.rpush(f"{PREFIX}:history", " ".join(map(str, (int(each.at * 1000), *counts))))


@pytest.mark.skipif(DIRECTORY is None, reason="`make screenshots` takes the pictures")
@pytest.mark.timeout(120)
def test_take_the_picture(browser: Chromium, tmp_path: Path) -> None:
    """Two machines that accept, two that upload, one segment that S3 refuses, one machine gone."""
    with (
        FakeS3() as s3,
        RedisProcess(needed(program_of(), "redis-server"), tmp_path / "redis") as redis,
        contextlib.ExitStack() as stack,
    ):
        write_history(redis)
        queue = {"QUEUE_URL": redis.url}
        web, _, _, lost = (
            stack.enter_context(named(name, tmp_path, s3, ROLE=name[:-2], **queue))
            for name in ("web-1", "web-2", "worker-1", "worker-2")
        )
        console = Console(browser, web, s3)
        s3.faults(Fault(kind="error", status=400, code="EntityTooLarge", key_contains="reports/"))
        console.post([{"report": "a" * 40}], "reports")
        load(console, 10)
        lost.kill_group()
        console.open()
        console.page.resize(1280, 1180)
        load(console, 13)
        console.page.screenshot(Path(str(DIRECTORY)) / "console-queue.png")
        assert console.errors() == []
