"""The short way of a POST that is plain but for its idempotency key."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.bench import settings_for
from tests.unit.servers.conftest import Served
from tests.unit.servers.engine import Request
from workers.keys.claim import Claim
from workers.keys.keys import Keys
from workers.keys.records import KeyEntry, KeyRecord
from workers.pipeline import Pipeline
from workers.segments.segment import Header

KEY = {"idempotency_key": "k"}


@pytest.fixture
def served(tmp_path: Path) -> Served:
    """Make a router whose keys are read."""
    return with_keys(Served(tmp_path))


def with_keys(served: Served) -> Served:
    """Read the keys: before it none is taken."""
    assert isinstance(served.pipeline.keys, Keys)
    served.pipeline.keys.read()
    return served


def post(served: Served, body: bytes, **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """POST a body: status, document and headers of the answer."""
    request = Request(content_length=str(len(body)), content_type="application/json", **headers)
    served.router.request(request)
    request.coming.arrive(body)
    [answer] = request.answers
    return answer.status, json.loads(answer.body), dict(answer.headers)


def test_a_retry_has_the_first_answer(served: Served) -> None:
    """The same key and body: the same receipts, said to be replayed, whichever way it came."""
    first = post(served, b"[{}]", **KEY)
    again = post(served, b"[{}]", **KEY)
    long = post(served, b"[{}]", content_encoding="identity", **KEY)
    assert [status for status, _, _ in (first, again, long)] == [202, 202, 202]
    assert first[1] == again[1] == long[1]
    marks = [headers.get("Idempotent-Replayed") for _, _, headers in (first, again, long)]
    assert marks == [None, "true", "true"]
    assert post(served, b"[{},{}]", **KEY)[0] == 422


@pytest.mark.parametrize("body", [b"[1]", b"[", b"{}"])
def test_what_is_refused_frees_its_key(served: Served, body: bytes) -> None:
    """A body with a fault accepts nothing: the next one with its key is a first one."""
    plain = post(served, body)
    assert post(served, body, **KEY)[:2] == plain[:2]
    assert post(served, b"[{}]", **KEY)[0] == 202


def test_a_full_service_frees_the_key(served: Served) -> None:
    """A refusal for want of room leaves the key as it was, too."""
    served.pipeline._intake.fail("no room")
    assert post(served, b"[{}]", **KEY)[0] == 503
    served.pipeline._intake._closed = False
    status, _, headers = post(served, b"[{}]", **KEY)
    assert (status, headers.get("Idempotent-Replayed")) == (202, None)


@pytest.mark.parametrize("key", ["", "a b", '"a', "x" * 256])
def test_a_wrong_key_is_refused(served: Served, key: str) -> None:
    """A key that is none is a 400, and nothing is kept."""
    assert post(served, b"[{}]", idempotency_key=key)[0] == 400
    assert not served.pipeline._intake.open_segments()


def test_partitions_of_a_request_with_a_key(tmp_path: Path) -> None:
    """A retry of what went to several partitions has all its receipts, in the same order."""
    served = with_keys(Served(tmp_path, KEY_TEMPLATE="{stream}/{payload.a}/{segment}"))
    body = b'[{"a":1},{"a":2},{"a":1}]'
    first, again = post(served, body, **KEY), post(served, body, **KEY)
    assert [each["indexes"] for each in first[1]["receipts"]] == [[[0, 0], [2, 2]], [[1, 1]]]
    assert first[1] == again[1]


def test_only_what_a_crash_took_is_placed(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where some payloads of a key are found, the others alone are placed; all are answered."""
    keys = served.pipeline.keys
    assert isinstance(keys, Keys)
    claim = keys.claim

    def claim_half(digest: bytes, body: bytes, *, compare: bool = True) -> Any:
        made = claim(digest, body, compare=compare)
        assert isinstance(made, Claim)
        record = KeyRecord(digest, body, made.accepted, 3, ((0, 1),))
        header = Header(name="n" * 50, stream="default", bucket="b", key="old", compression="")
        made.found = (KeyEntry(record, 7, 2, header),)
        return made

    monkeypatch.setattr(keys, "claim", claim_half)
    status, document, _ = post(served, b'[{"n":0},{"n":1},{"n":2}]', **KEY)
    places = [(each["first_line"], each["count"]) for each in document["receipts"]]
    assert (status, places) == (202, [(7, 2), (1, 1)])
    [segment] = served.pipeline._intake.open_segments()
    assert b"".join(segment.body.read()) == b'{"n":2}\n'


def test_a_service_without_keys_says_so(tmp_path: Path) -> None:
    """With DURABILITY=stored a key is a 400, not overlooked."""
    served = Served(tmp_path)
    settings = settings_for(tmp_path / "stored", DURABILITY="stored")
    served.pipeline = Pipeline(settings, bucket=served.pipeline.bucket)
    status, document, _ = post(served, b"[{}]", **KEY)
    assert status == 400
    assert "DURABILITY" in document["detail"]
