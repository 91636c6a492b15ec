"""`handling=lenient`: payloads with faults are left out and listed, and all others kept."""

import json
from typing import Any

import pytest
from marshmallow import Schema, fields

from app.access.rules import Endpoint
from app.http.problems import Problem
from app.ingest.formats.collection import Collection
from app.ingest.formats.decoding import decode
from app.ingest.formats.rejected import MAX_REJECTED, Rejected
from app.ingest.readers import read_endpoint_body, read_events
from tests.unit.ingest.samples import Head

JSON, LINES = "application/json", "application/x-ndjson"


class OneSchema(Schema):
    """What an operator might plug in."""

    a = fields.Integer(required=True)


def leniently(
    body: bytes, *, kind: str = JSON, schema: Schema | None = None
) -> tuple[list[bytes], list[str]]:
    """Decode; return the lines that are kept, and where the faults are."""
    rejected = Rejected()
    found = decode(body, content_type=kind, schema=schema, rejected=rejected)
    return checked(found), [fault.pointer for fault in rejected.faults]


def checked(found: Collection) -> list[bytes]:
    """Return the lines of a collection, whose count must be right."""
    lines = found.lines.splitlines()
    assert len(lines) == found.count
    return lines


@pytest.mark.parametrize(
    ("kind", "body", "kept", "faults"),
    [
        (JSON, b'[{"a":1},2,{"a":3},"x"]', [b'{"a":1}', b'{"a":3}'], ["/1", "/3"]),
        (JSON, b'{"payloads":[1,{"a":1}]}', [b'{"a":1}'], ["/payloads/0"]),
        (JSON, b'{"data":\n[null,\n{"a":1}],"version":"1"}', [b'{"a":1}'], ["/data/0"]),
        (JSON, b'["\\ud83d",{"a":"\\ud83d"}]', [b'{"a":"\\ud83d"}'], ["/0"]),
        (LINES, b'{"a":1}\n{"a":\n\n[]\n{"a":2}', [b'{"a":1}', b'{"a":2}'], ["/1", "/2"]),
        (LINES, b'x\n{"a":"\\ud83d"}\r\n', [b'{"a":"\\ud83d"}'], ["/0"]),
        (LINES, b'{"a":1}\n' + b"[" * 100_000 + b"\n", [b'{"a":1}'], ["/1"]),
    ],
)
def test_what_is_no_object_is_left_out(
    kind: str, body: bytes, kept: list[bytes], faults: list[str]
) -> None:
    """Elements of an array, and lines that are no JSON; others stay as they were sent."""
    assert leniently(body, kind=kind) == (kept, faults)


def test_lines_are_counted_over_parts() -> None:
    """In a body of many parts a pointer is the line's number among those that are not blank."""
    lines = [b'{"a":"%s"}' % (b"x" * 1000) for _ in range(1000)]
    for bad in (3, 500, 999):
        lines[bad] = b"no"
    kept, faults = leniently(b"\n\n".join(lines), kind=LINES)
    assert len(kept) == 997
    assert faults == ["/3", "/500", "/999"]


@pytest.mark.parametrize("kind", [JSON, LINES])
def test_what_the_schema_refuses_is_left_out(kind: str) -> None:
    """Pointers are into the body as it was sent, also behind payloads that were left out."""
    payloads: list[Any] = [1, {"a": 1}, {"a": "x", "b": 2}, {"a": 2}]
    body = json.dumps(payloads).encode()
    if kind == LINES:
        body = b"\n".join(json.dumps(each).encode() for each in payloads)
    kept, faults = leniently(body, kind=kind, schema=OneSchema())
    assert kept == [b'{"a": 1}', b'{"a": 2}']
    assert sorted(faults) == ["/0", "/2/a", "/2/b"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, b'[{"a":1},'), (JSON, b'[{"a":1},{"a":tru}]'), (JSON, b"[1,2]"), (JSON, b"[]"),
        (JSON, b'{"payloads":[{"a":1},2],"other":1}'), (JSON, b'{"payloads":[{}],"payloads":[1]}'),
        (JSON, b'{"payloads":[{},1],"\\u0070ayloads":[{}]}'),
        (JSON, b'{"version":1,"payloads":[{"a":1},2]}'), (JSON, b'{"payloads":{}}'), (JSON, b"1"),
        (LINES, b"1\n2"), (LINES, b""), (JSON, b'[{"a":1},"\xff"]'), (LINES, b'{"a":1}\n\xff'),
    ],
)  # fmt: skip
def test_faults_of_the_request_are_answered_as_ever(kind: str, body: bytes) -> None:
    """What is no fault of a payload, or of every payload, is the same problem as without it."""
    rejected = Rejected()
    with pytest.raises(Problem) as lenient:
        decode(body, content_type=kind, rejected=rejected)
    with pytest.raises(Problem) as strict:
        decode(body, content_type=kind)
    assert lenient.value.body() == strict.value.body()
    assert (rejected.faults, rejected.indexes) == ([], set())


@pytest.mark.parametrize("schema", [None, OneSchema()])
def test_more_faults_than_are_listed_are_the_strict_answer(schema: Schema | None) -> None:
    """10,000 are listed; one more is the 422 of a request without the preference."""
    body = json.dumps([{"a": 1}, *[{} if schema else 1] * MAX_REJECTED]).encode()
    _, faults = leniently(body, schema=schema)
    assert len(faults) == MAX_REJECTED
    body = body[:-1] + b",2,{}]"
    with pytest.raises(Problem) as lenient:
        leniently(body, schema=schema)
    with pytest.raises(Problem) as strict:
        decode(body, content_type=JSON, schema=schema)
    assert lenient.value.body() == strict.value.body()


@pytest.mark.parametrize(
    ("kind", "body", "kept", "faults"),
    [
        (JSON, b'[{"a":1},2]', [b'{"a":1}'], ["/1"]),
        (JSON, b'{"a":1}\n2\n{"a":3}', [b'{"a":1}', b'{"a":3}'], ["/1"]),
        (LINES, b'{"a":1}\n{"a"\n{"a":3}', [b'{"a":1}', b'{"a":3}'], ["/1"]),
        (LINES, b'[{"a":1},{"a":2}]\n{"a":3}', [b'{"a":1}', b'{"a":2}', b'{"a":3}'], None),
    ],
)
def test_events(kind: str, body: bytes, kept: list[bytes], faults: list[str] | None) -> None:
    """Under an NDJSON type a line that is no JSON is left out; a body without faults is not."""
    rejected = Rejected()
    if faults is None:
        # A line that is an array is many payloads, where nothing has to be left out.
        found = read_events(body, head=Head({"content-type": JSON}), schema=None, rejected=rejected)
    else:
        found = read_events(body, head=Head({"content-type": kind}), schema=None, rejected=rejected)
    assert checked(found) == kept
    assert [fault.pointer for fault in rejected.faults] == (faults or [])


@pytest.mark.parametrize("envelope", [True, False])
def test_an_endpoint(envelope: bool) -> None:  # noqa: FBT001 (pytest gives it by name)
    """The schema is for the payload, with and without the envelope around its line."""
    endpoint = Endpoint(path="/b", stream="s", payloads="/batch", envelope=envelope)
    rejected = Rejected()
    found = read_endpoint_body(
        b'{"batch":[{"a":1},{"a":"x"},3],"sent":1}',
        endpoint=endpoint,
        schema=OneSchema(),
        limit=1000,
        rejected=rejected,
    )
    line = b'{"envelope":{"sent":1},"payload":{"a":1}}' if envelope else b'{"a":1}'
    assert checked(found) == [line]
    assert sorted(fault.pointer for fault in rejected.faults) == ["/batch/1/a", "/batch/2"]
