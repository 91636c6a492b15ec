"""A reader of the log that stands still: requests, probes and the stop go on."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.service import SERVER_MODES, SERVERS
from tests.acceptance.wire import Wire, post
from tests.support import ROOT
from tests.support.s3 import FakeS3
from tests.support.service import Service

# The log repeats the request's id.
REFUSED = post(b"[", headers={"X-Request-ID": "x" * 128})


class UnreadService(Service):
    """A service whose log goes into a pipe that nobody reads."""

    def start(self) -> None:
        """Start the processes."""
        self.readable, writable = os.pipe()
        self._home.mkdir(parents=True, exist_ok=True)
        self.log_path.touch()
        try:
            self._process = subprocess.Popen(
                self.command(),
                cwd=ROOT,
                env=self.environ(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=writable,
                start_new_session=True,
            )
        finally:
            os.close(writable)


@pytest.fixture(params=SERVERS)
def service(request: pytest.FixtureRequest, s3: FakeS3, tmp_path: Path) -> Iterator[UnreadService]:
    """Run one process."""
    settings = {**SERVER_MODES[request.param][1], "WEB_CONCURRENCY": 1}
    with UnreadService(tmp_path, s3, settings=settings) as running:
        yield running
        os.close(running.readable)


def metric(service: Service, name: str) -> float:
    """Read one figure of /metrics."""
    lines = service.get("/metrics").body.decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))


def fill_the_log(service: Service) -> None:
    """Send what is refused, a line each, until lines are dropped."""
    with Wire(service.port) as wire:
        while not metric(service, "bucket_brigade_log_lines_dropped_total"):
            for _ in range(20):
                wire.send(REFUSED * 25)
                assert {wire.answer().status for _ in range(25)} == {400}


def dropped_and_reported(readable: int) -> Iterator[dict[str, Any]]:
    """Yield the log's events, as they are read."""
    with os.fdopen(os.dup(readable), "rb") as log:
        for line in log:
            yield json.loads(line)


def test_a_full_pipe_stops_nothing(service: UnreadService) -> None:
    """Every refusal is a line: many more than fit into a pipe and the queue."""
    fill_the_log(service)
    assert service.post("/payloads", [{}]).status == 202
    assert service.get("/healthz").status == service.get("/readyz").status == 200
    events = dropped_and_reported(service.readable)
    reported = next(event for event in events if event["event"] == "log lines dropped")
    assert reported["lines"] > 0


def test_a_full_pipe_does_not_delay_the_stop(service: UnreadService) -> None:
    """What the log does not take is given up after a second."""
    fill_the_log(service)
    service.terminate()
    assert service.wait(20) == 0
