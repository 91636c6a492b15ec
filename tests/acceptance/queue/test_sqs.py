"""`DURABILITY=queue` on SQS as a user runs it: processes, sockets, moto's SQS, S3."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.queue.conftest import Start, machines
from tests.support import wait_until
from tests.support.s3 import FakeS3, Fault
from tests.support.service import Service
from tests.support.sqs.server import SqsServer


@pytest.fixture
def start(tmp_path: Path, sqs: SqsServer, s3: FakeS3) -> Iterator[Start]:
    """Start services on the same queue."""
    with machines(tmp_path, s3, {"STORED_MAX_WAIT_SECONDS": 0.05, **sqs.environ()}) as begin:
        yield begin


def stored(s3: FakeS3) -> Counter[int]:
    """Return how often each number is in the bucket."""
    return Counter(json.loads(line)["n"] for _, _, line in s3.lines())


def test_web_and_worker_killed(start: Start, sqs: SqsServer, s3: FakeS3) -> None:
    """Every payload that was acknowledged is in the bucket once, whichever process dies."""
    s3.faults(Fault(kind="hang", methods=["PUT"]))
    web, worker = start("web"), start("worker")
    numbers = range(20)
    for n in numbers:
        answer = web.post("/payloads", json.dumps([{"n": n}]).encode())
        assert answer.status == 202, answer.body
    receipt = str(answer.headers["Location"])
    keyed = web.post("/payloads", b'[{"n":99}]', headers={"Idempotency-Key": "k"})
    assert keyed.status == 400
    large = json.dumps([{"n": 98, "x": "x" * 800_000}]).encode()
    too_large = web.post("/payloads", large)
    assert too_large.status == 413
    assert b"never fits" in too_large.body
    web.kill_group()
    wait_until(lambda: s3.counts().faults.get("hang", 0) > 0, timeout=30, what="a PUT that hangs")
    worker.kill_group()
    s3.clear()
    other = start("all")
    assert other.get(receipt).json()["state"] == "accepted"
    sqs.expire()
    wait_until(lambda: sqs.left() == 0, timeout=30, what="the uploads")
    assert stored(s3) == Counter(numbers)
    assert other.get(receipt).json()["state"] == "stored"
    sqs.manner = lambda _: "hang-up"
    wait_until(lambda: unavailable(other), timeout=20, what="a refusal")
    wait_until(lambda: other.get("/readyz").status == 503, timeout=10, what="red")
    sqs.manner = lambda _: "pass"
    wait_until(lambda: other.get("/readyz").status == 200, timeout=20, what="green")
    assert other.post("/payloads", b'[{"n":100}]').status == 202


def unavailable(service: Service) -> bool:
    """Whether a collection is refused, to come again later."""
    answer = service.post("/payloads", b'[{"n":50}]')
    return answer.status == 503 and bool(answer.headers["Retry-After"])
