"""`DURABILITY=stored`: the answer follows the object, and nothing is written to a disk."""

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.service import ServiceFactory
from tests.support.flood import Flood, Plan
from tests.support.oracle import judge
from tests.support.s3 import FakeS3, Fault
from tests.support.s3.recipes import documented
from tests.support.s3.watermarks import client_of
from tests.support.service import Service
from workers.settings.stored import counters_directory

SETTINGS = {"DURABILITY": "stored", "STORED_MAX_WAIT_SECONDS": 0.02}


@pytest.fixture
def start(service_factory: ServiceFactory, s3: FakeS3) -> Iterator[Callable[..., Service]]:
    """Start services; remove what they leave in memory."""
    made: list[Service] = []

    def start(**settings: object) -> Service:
        made.append(service_factory.start(**SETTINGS, **settings))
        return made[-1]

    yield start
    for service in made:
        service.kill_group()
        shutil.rmtree(counters_directory(s3.bucket, service.port), ignore_errors=True)


def written(pid: int) -> Iterator[str]:
    """Return the files that a process has open to write, but for its output and shared memory."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            info, path = descriptor.stat(), os.readlink(descriptor)
            flags = (descriptor.parents[1] / "fdinfo" / descriptor.name).read_text()
        except FileNotFoundError:
            continue
        mode = int(flags.split("flags:")[1].split()[0], 8) & os.O_ACCMODE
        if stat.S_ISREG(info.st_mode) and mode != os.O_RDONLY and int(descriptor.name) > 2:
            yield path


def test_no_disk_is_written(start: Callable[..., Service], s3: FakeS3, tmp_path: Path) -> None:
    """201 with a receipt of what is in S3; no `SPOOL_DIR`, and no file outside of memory."""
    spool = tmp_path / "nowhere" / "spool"
    service = start(SPOOL_DIR=spool, WEB_CONCURRENCY=2)
    answer = service.post("/payloads/a", [{"n": 1}, {"n": 2}])
    assert (answer.status, answer.json()["durability"]) == (201, "stored")
    [receipt] = answer.json()["receipts"]
    [(key, _, first), (_, _, second)] = s3.lines()
    assert [first, second] == [b'{"n": 1}', b'{"n": 2}']
    assert receipt["object"] == f"s3://{s3.bucket}/{key}"
    assert service.get(answer.headers["Location"]).json()["state"] == "stored"
    with Flood(service.port, Plan(threads=4, requests=40, payloads=(1, 5))) as flood:
        flood.join()
    judge(flood, s3).assert_clean()
    assert flood.statuses == {201: 40}
    stats = service.stats()
    assert stats["accepted"] == stats["stored"] == 2 + flood.count("acked")
    assert not spool.parent.exists()
    files = {path for pid in service.processes() for path in written(pid)}
    assert {path for path in files if not path.startswith("/dev/shm/")} == set()
    lines = [line for _, _, line in s3.lines()]
    client = client_of(s3)
    documented("scale.md", "merge")(client, s3.bucket, "", "merged.ndjson.gz")
    client.close()
    assert [line for _, _, line in s3.lines()] == lines
    assert s3.all_keys() == ["merged.ndjson.gz"]


@pytest.mark.parametrize("server_mode", ["engine", "gthread"])
def test_each_request_has_its_answer_in_time(start: Callable[..., Service], s3: FakeS3) -> None:
    """S3 hangs: *not confirmed*. S3 refuses: nothing is kept. S3 is back: 201, and no restart."""
    service = start(REQUEST_SECONDS=1)
    for fault, is_confirmed in (
        (Fault(kind="hang"), False),
        (Fault(kind="error", status=503, code="SlowDown"), True),
    ):
        s3.faults(fault)
        # Where the time ends while S3 is asked once more it cannot be known either.
        for _ in range(10):
            started = time.monotonic()
            answer = service.post("/payloads", [{"n": 1}])
            taken = time.monotonic() - started
            assert answer.status == 503
            assert answer.headers["Retry-After"]
            assert taken < 5, "as long as it takes here under load, and far from S3's own time"
            if (b"urn:bucket-brigade:not-confirmed" not in answer.body) is is_confirmed:
                break
        else:
            pytest.fail(f"never as expected: {answer.body!r}")
        s3.clear()
    with Flood(service.port, Plan(threads=1, seconds=50, pause_seconds=0.05)) as flood:
        flood.wait_for("acked", 1)
        flood.stop()
    judge(flood, s3).assert_clean()
