"""The contract's Idempotency-Key: a retry is answered as the first request, and stores nothing."""

import gzip
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.acceptance.contract.samples import ARRAY, NDJSON, PAYLOADS, stored
from tests.acceptance.service import settle
from tests.acceptance.wire import Wire, post, problem
from tests.support.s3 import FakeS3
from tests.support.service import Answer, Service

CLIENTS, ROUNDS = 8, 5


def keyed(key: str, **headers: str) -> dict[str, str]:
    """Return the headers of a request with a key."""
    return {"Idempotency-Key": key, **headers}


def fresh() -> str:
    """Return a key that was not used before."""
    return str(uuid.uuid4())


def is_replay(answer: Answer) -> bool:
    """Whether an answer says that it is one again."""
    return answer.headers.get("Idempotent-Replayed") == "true"


def test_a_retry_gets_the_same_answer(service: Service, bucket: FakeS3) -> None:
    """Body and Location again, before and after the upload, and each payload is stored once."""
    key, mark = fresh(), fresh()
    body = json.dumps([{"mark": mark, "n": n} for n in range(3)]).encode()
    first = service.post("/payloads/once", body, headers=keyed(key))
    assert (first.status, is_replay(first)) == (202, False)
    for _ in range(4):
        again = service.post("/payloads/once", body, headers=keyed(key))
        assert (again.status, again.body, is_replay(again)) == (202, first.body, True)
        assert again.headers["Location"] == first.headers["Location"]
        settle(service)
    assert sum(mark.encode() in line for _, _, line in bucket.lines()) == 3


def test_the_decoded_body_counts(service: Service) -> None:
    """The same body in another encoding is the same; a bare key and one in quotes are too."""
    key = fresh()
    first = service.post("/payloads/once", ARRAY, headers=keyed(key))
    packed = keyed(f'"{key}"', **{"Content-Encoding": "gzip"})
    again = service.post("/payloads/once", gzip.compress(ARRAY), headers=packed)
    assert (again.status, again.body, is_replay(again)) == (202, first.body, True)


def test_another_body_is_a_422(service: Service) -> None:
    """A key stands for one body, and says so."""
    key = fresh()
    assert service.post("/payloads/once", ARRAY, headers=keyed(key)).status == 202
    refused = service.post("/payloads/once", b"[{}]", headers=keyed(key))
    assert refused.status == 422
    assert "another body" in refused.json()["detail"]


def test_another_stream_is_another_request(service: Service) -> None:
    """A key counts within a stream, whichever route leads there."""
    key = fresh()
    first = service.post("/payloads/once", ARRAY, headers=keyed(key))
    assert not is_replay(service.post("/payloads/other", ARRAY, headers=keyed(key)))
    events = service.post("/events/once", ARRAY, headers=keyed(key))
    assert (events.body, is_replay(events)) == (first.body, True)


def test_what_is_refused_uses_no_key(service: Service) -> None:
    """After a 4xx the same key is a first request, with any body."""
    key = fresh()
    for body in (b"[", b"[1]", b""):
        assert service.post("/payloads/once", body, headers=keyed(key)).status in {400, 422}
    accepted = service.post("/payloads/once", ARRAY, headers=keyed(key))
    assert (accepted.status, is_replay(accepted)) == (202, False)


@pytest.mark.parametrize(
    "key",
    ["", '""', "a b", "a,b", '"a", "b"', '"a', "a;b=1", '"a";b=1', "a" * 256, "caf\u00e9", '"\\a"'],
)
def test_a_key_that_is_none_is_a_400(service: Service, key: str) -> None:
    """Empty, too long, more than one, or characters that a string cannot have: it says which do."""
    refused = service.post("/payloads/once", ARRAY, headers=keyed(key))
    assert refused.status == 400, key
    assert "one key of 1 to 255" in refused.json()["detail"]


@pytest.mark.parametrize("key", ["a" * 255, '"a b, c; \\" \\\\"', "urn:uuid:1/2+3=", "!~"])
def test_keys_that_are_taken(service: Service, key: str) -> None:
    """A string of visible characters and spaces, or a bare one without separators."""
    assert service.post("/payloads/once", ARRAY, headers=keyed(key)).status == 202
    assert is_replay(service.post("/payloads/once", ARRAY, headers=keyed(key)))


def test_a_repeated_header_is_a_400(service: Service) -> None:
    """Two keys are none."""
    request = post(ARRAY, headers=keyed("a")).replace(b"Host:", b"Idempotency-Key: b\r\nHost:")
    with Wire(service.port) as wire:
        wire.send(request)
        problem(wire.answer(), 400)


def test_requests_at_once_are_accepted_once(service: Service, bucket: FakeS3) -> None:
    """Of clients that send one key at the same time one is first; the others wait, or are answered.

    Over all processes: a connection each.
    """
    mark = fresh()

    def send(number: int) -> Answer:
        barrier.wait()
        body = json.dumps([{"mark": mark, "round": number}]).encode()
        return service.post("/payloads/once", body, headers=keyed(f"{mark}-{number}"))

    barrier = Barrier(CLIENTS)
    with ThreadPoolExecutor(CLIENTS) as threads:
        for number in range(ROUNDS):
            answers = list(threads.map(send, [number] * CLIENTS))
            assert {answer.status for answer in answers} <= {202, 409}
            taken = [answer for answer in answers if answer.status == 202]
            assert sum(not is_replay(answer) for answer in taken) == 1
            assert len({answer.body for answer in taken}) == 1
            assert all("Retry-After" in a.headers for a in answers if a.status == 409)
    settle(service)
    assert sum(mark.encode() in line for _, _, line in bucket.lines()) == ROUNDS


def test_lines_of_a_request_with_a_key_are_as_others(service: Service, bucket: FakeS3) -> None:
    """What is stored does not show the key."""
    answer = service.post("/payloads/once", b"\n".join(PAYLOADS), headers=keyed(fresh(), **NDJSON))
    assert stored(service, bucket, answer) == PAYLOADS
