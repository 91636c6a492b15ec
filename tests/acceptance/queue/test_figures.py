"""`/metrics` on a queue, with several processes: one machine's counters, whichever answers."""

import random
from pathlib import Path

import pytest

from tests.acceptance.queue.conftest import machines
from tests.support import wait_until
from tests.support.s3 import FakeS3
from tests.support.service import Service

REQUESTS = 24


@pytest.fixture(params=["shared_redis", "sqs"])
def queue_environ(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return what names a queue."""
    server = request.getfixturevalue(request.param)
    environ: dict[str, str] = (
        server.environ() if request.param == "sqs" else {"QUEUE_URL": server.url}
    )
    return environ


def figure(service: Service, name: str) -> float:
    """Return one figure of `/metrics`, as the process says that takes the connection."""
    lines = service.get("/metrics").body.decode().splitlines()
    [line] = [line for line in lines if line.startswith(f"bucket_brigade_{name} ")]
    return float(line.split()[1])


def test_a_scrape_has_the_counters_of_the_machine(
    tmp_path: Path, queue_environ: dict[str, str], s3: FakeS3
) -> None:
    """Two processes count as one, at every scrape, and a killed one's counts stay."""
    settings = {**queue_environ, "WEB_CONCURRENCY": 2, "OBJECT_MAX_AGE_SECONDS": 0.1}
    with machines(tmp_path, s3, settings) as start:
        service = start("all")
        for n in range(REQUESTS):
            assert service.post("/payloads", [{"n": n}]).status == 202
        wait_until(lambda: len(s3.lines()) == REQUESTS, timeout=30, what="the uploads")
        answered = 'requests_total{status="202"}'
        assert {figure(service, answered) for _ in range(8)} == {REQUESTS}
        objects = len(s3.all_keys())
        wait_until(
            lambda: figure(service, "objects_stored_total") == objects, timeout=10, what="the count"
        )
        service.kill_random_child(random.Random(1))
        service.wait_ready()
        assert service.post("/payloads", [{"n": REQUESTS}]).status == 202
        wait_until(
            lambda: figure(service, answered) == REQUESTS + 1, timeout=20, what="the new process"
        )
        assert {figure(service, answered) for _ in range(8)} == {REQUESTS + 1}
