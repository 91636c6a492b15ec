"""`DURABILITY=queue` with its roles, as a user runs it: processes, sockets, a real server, S3."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.queue.conftest import Start, machines
from tests.acceptance.s3.test_stored import written
from tests.support import wait_until
from tests.support.redis.server import RedisProcess
from tests.support.s3 import FakeS3, Fault
from tests.support.service import Service
from workers.settings.stored import counters_directory

AGE = {"OBJECT_MAX_AGE_SECONDS": 0.3}


@pytest.fixture
def start(tmp_path: Path, shared_redis: RedisProcess, s3: FakeS3) -> Iterator[Start]:
    """Start services on the shared server."""
    with machines(tmp_path, s3, {**AGE, "QUEUE_URL": shared_redis.url}) as begin:
        yield begin


def post(service: Service, *numbers: int) -> str:
    """Post payloads; return their receipt's path."""
    body = json.dumps([{"n": number} for number in numbers]).encode()
    answer = service.post("/payloads", body)
    assert answer.status == 202, answer.body
    assert answer.json()["durability"] == "queue"
    return str(answer.headers["Location"])


def stored(s3: FakeS3) -> list[int]:
    """Return the numbers in the bucket."""
    return sorted(json.loads(line)["n"] for _, _, line in s3.lines())


def state_of(service: Service, receipt: str) -> str:
    """Return what a service says of a receipt."""
    return str(service.get(receipt).json()["state"])


def test_one_tier_accepts_and_another_uploads(start: Start, s3: FakeS3) -> None:
    """The web tier has no credentials; the worker tier opens probes and figures only."""
    web = start("web", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    receipt = post(web, 1, 2)
    assert state_of(web, receipt) in ("accepted", "uploading")
    assert stored(s3) == []
    # Which machine uploads is not known here: nothing waits for it.
    asked = web.post("/payloads", [{"n": 3}], headers={"Prefer": "wait=20"})
    assert (asked.status, asked.headers["Preference-Applied"]) == (202, None)
    worker = start("worker")
    wait_until(lambda: stored(s3) == [1, 2, 3], timeout=30, what="the upload")
    wait_until(lambda: state_of(web, receipt) == "stored", timeout=10, what="the receipt")
    assert worker.get("/healthz").status == 200
    assert worker.get("/stats").json()["stored"] == 3
    assert [worker.get(receipt).status, worker.get("/openapi.json").status] == [404, 404]
    assert worker.post("/payloads", b"[{}]").status == 404
    assert worker.post("/events", b"{}").status == 404


def test_nothing_is_written_to_the_disk(start: Start, tmp_path: Path, s3: FakeS3) -> None:
    """`SPOOL_DIR` is not used: how much a key is used is counted in memory, for all processes."""
    file = tmp_path / "access.toml"
    digest = hashlib.sha256(b"secret").hexdigest()
    file.write_text(f'[keys.a]\nsha256 = ["{digest}"]\nrequests_per_second = 5\n')
    service = start("all", ACCESS_FILE=file, WEB_CONCURRENCY=2)
    own = counters_directory(s3.bucket, service.port, durability="queue")
    headers = {"Authorization": "Bearer secret"}
    posts = [service.post("/payloads", b'[{"n":1}]', headers=headers) for _ in range(60)]
    assert {answer.status for answer in posts} == {202, 429}
    accepted = sum(answer.status == 202 for answer in posts)
    wait_until(lambda: len(stored(s3)) == accepted, timeout=30, what="the uploads")
    assert len(list(own.glob("usage/*/keys"))) >= 1
    assert not service.spool_dir.exists()
    files = {path for pid in service.processes() for path in written(pid)}
    assert {path for path in files if not path.startswith("/dev/shm/")} == set()


def test_a_web_machine_dies_with_its_directory(
    start: Start, shared_redis: RedisProcess, s3: FakeS3
) -> None:
    """What it acknowledged is uploaded by another; its receipts are true there."""
    dying = start("web", OBJECT_MAX_AGE_SECONDS=3600)
    receipt = post(dying, 1, 2, 3)
    dying.kill_group()
    shutil.rmtree(dying.log_path.parent)
    other = start("all")
    assert state_of(other, receipt) == "accepted"
    expire(shared_redis, "writers")
    wait_until(lambda: stored(s3) == [1, 2, 3], timeout=30, what="the upload")
    wait_until(lambda: state_of(other, receipt) == "stored", timeout=10, what="the receipt")


def expire(server: RedisProcess, kind: str) -> None:
    """Let all leases of a kind have expired: what is alive renews its own."""
    client = server.client()
    for name in client.zrange(f"{{bucket-brigade}}:{kind}", 0, -1):
        client.zadd(f"{{bucket-brigade}}:{kind}", {name: 1})
    client.close()


def test_the_server_away_is_a_503_and_recovers(
    tmp_path: Path, own_redis: RedisProcess, s3: FakeS3
) -> None:
    """Readiness is red, requests are refused, figures say so; nothing needs a restart."""
    settings = {**AGE, "QUEUE_URL": own_redis.url}
    with machines(tmp_path, s3, settings) as begin:
        service = begin("all")
        post(service, 1)
        own_redis.kill()
        answer = service.post("/payloads", b'[{"n":2}]')
        assert answer.status == 503
        assert answer.headers["Retry-After"]
        wait_until(lambda: service.get("/readyz").status == 503, timeout=10, what="red")
        assert service.get("/stats").status == 503
        assert service.get("/metrics").status == 503
        own_redis.start()
        wait_until(lambda: service.get("/readyz").status == 200, timeout=20, what="green")
        post(service, 3)
        wait_until(lambda: {1, 3} <= set(stored(s3)), timeout=30, what="the upload")
        stats = service.get("/stats").json()
        assert stats["accepted"] == stats["stored"] + stats["pending"] + stats["dead"]


def test_a_worker_killed_in_a_put_holds_nothing_up(
    start: Start, shared_redis: RedisProcess, s3: FakeS3
) -> None:
    """Its lease expires, another uploads the segment, and the object is there once."""
    s3.faults(Fault(kind="hang", methods=["PUT"]))
    web, worker = start("web"), start("worker")
    post(web, 1)
    wait_until(lambda: s3.counts().faults.get("hang", 0) > 0, timeout=30, what="a PUT that hangs")
    worker.kill_group()
    s3.clear()
    start("worker")
    expire(shared_redis, "leased")
    wait_until(lambda: stored(s3) == [1], timeout=30, what="the upload")
