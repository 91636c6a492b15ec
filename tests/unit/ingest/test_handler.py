"""The ingest handler: what becomes of a POST, and what its client is answered, without HTTP."""

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

from app.http.problems import NotJson, Problem, TooLarge, Unavailable, UnsupportedType, WrongShape
from app.ingest.arrival import Arrival
from app.ingest.handler import IngestHandler
from app.ingest.ways import Way
from app.logs import request_id
from tests.support.bench import settings_for
from tests.support.doubles import DictBucket
from tests.unit.ingest.samples import Head
from workers.errors import SettingsError
from workers.pipeline import Pipeline

JSON = "application/json"


class OnlyNumbers(Schema):
    """A payload schema, as somebody would plug one in."""

    n = fields.Integer(required=True, strict=True)


class HandlerFixture:
    """A handler, and behind it a pipeline in memory mode whose threads never start."""

    def __init__(self, root: Path, **environ: object) -> None:
        settings = settings_for(root, DURABILITY="memory", DRAIN_SECONDS=0.5, **environ)
        self.pipeline = Pipeline(settings, bucket=DictBucket())
        self.front = IngestHandler(settings, pipeline=lambda: self.pipeline)

    def post(
        self, body: object, *, stream: str = "s", kind: str = JSON, coding: str = ""
    ) -> dict[str, Any]:
        """Post a body, or a value as JSON; return the document of the 202."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        arrival = Arrival(way=Way(stream), head=Head({"content-type": kind}))
        accepted = self.front.accept(arrival, raw, content_encoding=coding)
        said: dict[str, Any] = json.loads(accepted.body)
        return said

    def lines(self) -> list[bytes]:
        """Return what is in the open segments."""
        segments = self.pipeline.process_spool.unfinished()
        return b"".join(b"".join(segment.body.read()) for segment in segments).splitlines()


@pytest.fixture
def make_handler(tmp_path: Path) -> Iterator[Callable[..., HandlerFixture]]:
    """Hand out doors; close what is behind them."""
    made: list[HandlerFixture] = []

    def make(**environ: object) -> HandlerFixture:
        made.append(HandlerFixture(tmp_path, **environ))
        return made[-1]

    yield make
    for handler in made:
        handler.pipeline.stop()


@pytest.fixture
def handler(make_handler: Callable[..., HandlerFixture]) -> HandlerFixture:
    """Make one handler, with settings as they are by default."""
    return make_handler()


# --- Accepted -------------------------------------------------------------------------------------


def test_a_202_says_where(handler: HandlerFixture) -> None:
    """Count, durability and receipts: the object, the first line in it, and how many."""
    assert handler.post([{"n": 1}])["accepted"] == 1
    said = handler.post({"payloads": [{"n": 2}, {"n": 3}]})
    assert (said["accepted"], said["durability"]) == (2, "memory")
    [receipt] = said["receipts"]
    assert (receipt["first_line"], receipt["count"]) == (2, 2)
    assert receipt["object"].startswith("s3://bucket/s/dt=")
    claim = handler.pipeline.receipts.claim(receipt["id"])
    assert f"s3://bucket/{claim.key}" == receipt["object"]
    assert handler.lines() == [b'{"n": 1}', b'{"n": 2}', b'{"n": 3}']


def test_a_cut_collection_has_several_receipts(make_handler: Callable[..., HandlerFixture]) -> None:
    """What spans objects gets a receipt for each, in order."""
    said = make_handler(OBJECT_MAX_PAYLOADS=2).post([{"n": n} for n in range(5)])
    assert [(each["first_line"], each["count"]) for each in said["receipts"]] == [
        (1, 2),
        (1, 2),
        (1, 1),
    ]
    assert said["accepted"] == 5


def test_encoded_bodies(handler: HandlerFixture) -> None:
    """The Content-Encoding is taken off before the payloads are looked at."""
    handler.post(gzip.compress(b'[{"n":1}]'), coding="gzip")
    handler.post(b'{"n":2}\n', kind="application/x-ndjson", coding="identity")
    assert handler.lines() == [b'{"n":1}', b'{"n":2}']


def test_an_envelope_around_each_line(make_handler: Callable[..., HandlerFixture]) -> None:
    """With LINE_FORMAT=envelope a line says when, where and by which request; never the token."""
    handler = make_handler(LINE_FORMAT="envelope")
    token = request_id.set("request-1")
    handler.post({"version": "2", "token": "secret", "payloads": [{"a": "}\\n{"}, {"b": 1.50}]})
    request_id.reset(token)
    first, second = (json.loads(line) for line in handler.lines())
    moment = datetime.fromisoformat(first.pop("received_at"))
    assert timedelta(0) <= datetime.now(UTC) - moment < timedelta(minutes=1)
    assert first == {
        "stream": "s",
        "version": "2",
        "request_id": "request-1",
        "payload": {"a": "}\\n{"},
    }
    assert second["payload"] == {"b": 1.5}
    assert b"secret" not in b"".join(handler.lines())
    assert handler.post([{}])["receipts"][0]["first_line"] == 3


# --- Refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "how", "problem", "status"),
    [
        (b"{", {}, NotJson, 400),
        (b"[{}]", {"kind": "text/plain"}, UnsupportedType, 415),
        (b"[{}]", {"coding": "br"}, UnsupportedType, 415),
        (b"[1]", {}, WrongShape, 422),
        (b"[]", {}, WrongShape, 422),
        (b"[" + b" " * 2048 + b"{}]", {}, TooLarge, 413),
        (gzip.compress(b" " * 100_000 + b"[{}]"), {"coding": "gzip"}, TooLarge, 413),
    ],
)
def test_what_is_refused_leaves_nothing(
    make_handler: Callable[..., HandlerFixture],
    *,
    body: bytes,
    how: dict[str, str],
    problem: type[Problem],
    status: int,
) -> None:
    """Each kind of fault has its problem and its status, and no part of the body is kept."""
    handler = make_handler(MAX_BODY_BYTES=1024)
    with pytest.raises(problem) as caught:
        handler.post(body, **how)
    assert type(caught.value) is problem
    assert caught.value.status == status
    assert handler.lines() == []


def test_a_full_queue_is_a_503(make_handler: Callable[..., HandlerFixture]) -> None:
    """It says why and when to come back."""
    handler = make_handler(MAX_QUEUE=1, OBJECT_MAX_PAYLOADS=1)
    handler.post([{}, {}])
    with pytest.raises(Unavailable, match="queue is full") as caught:
        handler.post([{}])
    assert caught.value.status == 503
    assert int(caught.value.headers["Retry-After"]) >= 1
    assert len(handler.lines()) == 2


def test_what_never_fits_is_a_413(make_handler: Callable[..., HandlerFixture]) -> None:
    """Coming back later would not help, so it is not suggested."""
    handler = make_handler(MAX_QUEUE=1, OBJECT_MAX_PAYLOADS=1)
    with pytest.raises(TooLarge, match="3 payloads") as caught:
        handler.post([{}, {}, {}])
    assert "Retry-After" not in caught.value.headers


def test_a_stopped_pipeline_is_a_503(handler: HandlerFixture) -> None:
    """After the stop clients get a 503 that says so, and try another server."""
    handler.pipeline.stop()
    with pytest.raises(Unavailable, match="stopping"):
        handler.post([{}])


def test_envelopes_are_bounded(make_handler: Callable[..., HandlerFixture]) -> None:
    """Envelopes around very many tiny payloads may not make the body many times as large."""
    handler = make_handler(LINE_FORMAT="envelope", MAX_BODY_BYTES=10_000)
    with pytest.raises(TooLarge, match="envelopes"):
        handler.post([{}] * 2000)
    handler.post([{}] * 20)


# --- A payload schema -----------------------------------------------------------------------------


def test_a_schema_is_plugged_in(make_handler: Callable[..., HandlerFixture]) -> None:
    """Every fault of every payload is named by its index, and a good collection goes through."""
    handler = make_handler(PAYLOAD_SCHEMA=f"{__name__}:OnlyNumbers")
    with pytest.raises(WrongShape) as caught:
        handler.post({"data": [{"n": 1}, {"n": "x"}, {}]})
    assert [fault.pointer for fault in caught.value.errors] == ["/data/1/n", "/data/2/n"]
    assert handler.lines() == []
    handler.post({"data": [{"n": 1}]})
    assert handler.lines() == [b'{"n": 1}']


def test_a_schema_that_is_not_there(make_handler: Callable[..., HandlerFixture]) -> None:
    """A typo in PAYLOAD_SCHEMA ends the start, not the first request."""
    with pytest.raises(SettingsError, match="NoSuchSchema"):
        make_handler(PAYLOAD_SCHEMA=f"{__name__}:NoSuchSchema")
