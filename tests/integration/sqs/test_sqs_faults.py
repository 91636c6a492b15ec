"""An SQS that hangs, throttles, refuses some of a batch, delivers twice; a PUT that takes long."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path

import pytest

from tests.integration.app.application import Service
from tests.integration.sqs.conftest import Make
from tests.support import wait_until
from tests.support.s3 import FakeS3, Fault
from tests.support.sqs.server import Manner, SqsServer
from workers.errors import NotConfirmed, NotDurable
from workers.sqs import client, health
from workers.upload.s3 import Bucket

NOT_CONFIRMED = "urn:bucket-brigade:not-confirmed"
Start = Callable[..., Service]


@pytest.fixture
def start(
    tmp_path: Path,
    sqs: SqsServer,
    s3: FakeS3,
    real_bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Start]:
    """Start services on the queue that look at it again at once; stop them."""
    for name, value in sqs.environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(health, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(client, "MIN_ATTEMPT_SECONDS", 1.3)
    started: list[Service] = []

    def begin(**more: object) -> Service:
        given = {"DURABILITY": "queue", "RECEIPT_SECRET": "s", "STORED_MAX_WAIT_SECONDS": 0.02}
        given |= {"S3_BUCKET": s3.bucket, **sqs.environ(), **more}
        started.append(Service(tmp_path, bucket=real_bucket, **given))
        return started[-1]

    yield begin
    sqs.release()
    s3.clear()
    for each in started:
        each.pipeline.stop()


def numbers(s3: FakeS3) -> Counter[int]:
    """Return how often each number is in the bucket."""
    return Counter(json.loads(line)["n"] for _, _, line in s3.lines())


def is_ready(service: Service) -> bool:
    """Whether the service would accept now."""
    return service.client.get("/readyz").status_code == 200


def test_a_queue_that_hangs_is_a_503_in_time(start: Start, sqs: SqsServer, s3: FakeS3) -> None:
    """Requests are not confirmed before their time is over; readiness is red; it goes on alone."""
    service = start(REQUEST_SECONDS=5)
    assert service.post([{"n": 1}]).status_code == 202
    sqs.manner = lambda _: "hang"
    began = time.monotonic()
    answer = service.post([{"n": 2}])
    assert time.monotonic() - began < 5
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.get_json()["type"] == NOT_CONFIRMED
    wait_until(lambda: not is_ready(service), timeout=10, what="red")
    refused = service.post([{"n": 3}])
    assert (refused.status_code, refused.get_json()["type"]) == (503, "about:blank")
    sqs.release()
    wait_until(lambda: is_ready(service), timeout=20, what="green")
    assert service.post([{"n": 4}]).status_code == 202
    wait_until(lambda: sqs.left() == 0, timeout=20, what="the uploads")
    assert numbers(s3) == Counter([1, 4])


def test_throttling_is_a_503_that_names_it(start: Start, sqs: SqsServer) -> None:
    """Nothing of it is in the queue, and it is tried again soon after."""
    service = start(ROLE="web")
    sqs.manner = lambda call: "throttle" if call == "SendMessageBatch" else "pass"
    answer = service.post([{"n": 1}])
    assert (answer.status_code, answer.get_json()["type"]) == (503, "about:blank")
    assert answer.headers["Retry-After"]
    assert "RequestThrottled" in answer.get_json()["detail"]
    assert sqs.left() == 0
    sqs.release()
    wait_until(lambda: is_ready(service), timeout=10, what="green")
    assert service.post([{"n": 2}]).status_code == 202


def test_of_a_batch_only_what_is_refused_is_refused(sqs: SqsServer, on: Make) -> None:
    """The requests of the other messages are answered; those of both segments are not confirmed."""
    web = on()
    segments = [web.open() for _ in range(3)]
    sqs.manner = lambda call: "refuse-last" if call == "SendMessageBatch" else "pass"
    good = [web.append((segment, b'{"n":1}\n')) for segment in segments[:2]]
    bad = web.append((segments[2], b'{"n":2}\n'))
    both = web.append((segments[0], b'{"n":3}\n'), (segments[2], b'{"n":4}\n'))
    web.seal(*segments)
    assert [future.exception for future in good] == [None, None]
    assert type(bad.exception) is NotDurable
    assert type(both.exception) is NotConfirmed
    assert sqs.left() == 2


def test_of_a_batch_only_what_is_lost_is_sent_again(sqs: SqsServer, on: Make) -> None:
    """A fault of SQS's own: the one message goes again, and all requests are answered."""
    web = on()
    segments = [web.open() for _ in range(3)]
    manners: Iterator[Manner] = chain(["lose-last"], repeat("pass"))
    sqs.manner = lambda call: next(manners) if call == "SendMessageBatch" else "pass"
    futures = [web.append((segment, b'{"n":1}\n')) for segment in segments]
    web.seal(*segments)
    assert [future.exception for future in futures] == [None] * 3
    assert sqs.left() == 3
    assert sqs.calls.count("SendMessageBatch") == 2


def test_a_message_received_again_in_a_slow_put_is_stored_once(
    start: Start, sqs: SqsServer, s3: FakeS3
) -> None:
    """Its time ran out, another process stored it, and then the slow PUT came through."""
    s3.faults(Fault(kind="hang", methods=["PUT"], times=1))
    first = start()
    assert first.post([{"n": 1}]).status_code == 202
    wait_until(lambda: s3.counts().faults.get("hang", 0) > 0, timeout=20, what="a PUT that hangs")
    second = start()
    sqs.expire()
    second.until(stored=1)
    assert sqs.left() == 0
    s3.clear()
    first.until(stored=1)
    assert [kept.stored_count for kept in s3.objects().values()] == [1]
    assert numbers(s3) == Counter([1])


def test_a_message_that_is_there_twice_is_stored_once(
    start: Start, sqs: SqsServer, s3: FakeS3
) -> None:
    """The answer of a send was lost, so it was sent again: both are received, one object is put."""
    service = start()
    manners: Iterator[Manner] = chain(["lose-answer"], repeat("pass"))
    sqs.manner = lambda call: next(manners) if call == "SendMessageBatch" else "pass"
    assert service.post([{"n": 1}, {"n": 2}]).status_code == 202
    wait_until(lambda: sqs.left() < 2, timeout=20, what="the first")
    sqs.expire()
    wait_until(lambda: sqs.left() == 0, timeout=20, what="the second")
    assert numbers(s3) == Counter([1, 2])
    assert [kept.stored_count for kept in s3.objects().values()] == [1]
