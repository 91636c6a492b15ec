"""The envelope around a collection: its members, their types, and how a fault is explained."""

import tracemalloc
from typing import Any

import msgspec
import pytest

from app.http.problems import WrongShape
from app.ingest.formats.collection import MAX_COMMAS
from app.ingest.formats.schemas import MAX_TOKEN, MAX_VERSION, EnvelopeSchema
from tests.unit.ingest.samples import from_json, pointers


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", [""]),
        (b'{"version":"1"}', [""]),
        (b'{"payloads":[{}],"data":[{}]}', [""]),
        (b'{"payloads":{"a":1}}', ["/payloads"]),
        (b'{"payloads":null}', ["/payloads"]),
        (b'{"payloads":"x"}', ["/payloads"]),
        (b'{"payloads":[{}],"version":1}', ["/version"]),
        (b'{"payloads":[{}],"version":["x"],"token":{}}', ["/version", "/token"]),
        (b'{"payloads":[{}],"extra":1}', ["/extra"]),
        (b'{"payloads":[{}],"a/b~c":[1],"version":true}', ["/version", "/a~1b~0c"]),
        (b'{"payloads":[{}],"":1}', ["/"]),
    ],
)
def test_a_wrong_envelope_is_explained(body: bytes, expected: list[str]) -> None:
    """Everything that is wrong with an envelope is named; unknown members are not ignored."""
    with pytest.raises(WrongShape) as refusal:
        from_json(body)
    assert pointers(refusal) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"payloads":[{}],"payloads":[{}]}', ["/payloads"]),
        (b'{"payloads":[{"a":1}],"payloads":[]}', ["/payloads"]),
        (rb'{"payloads":[{}],"p\u0061yloads":[{}]}', ["/payloads"]),
        (rb'{"\u0064ata":[{}],"dat\u0061":[{}]}', ["/data"]),
        (b'{"version":"1","version":"1","payloads":[{}]}', ["/version"]),
        (b'{"token":null,"payloads":[{}],"token":null}', ["/token"]),
        (b'{"x":1,"x":2,"payloads":[{}]}', ["/x", "/x"]),
    ],
)
def test_repeated_members_of_an_envelope_are_refused(body: bytes, expected: list[str]) -> None:
    """A member twice is a 422, however spelled: one of the two would be dropped silently."""
    with pytest.raises(WrongShape) as refusal:
        from_json(body)
    assert pointers(refusal) == expected


def test_more_members_than_make_sense_are_refused() -> None:
    """A million members of an envelope are not collected to be named."""
    body = b"{" + b",".join(b'"%d":0' % i for i in range(MAX_COMMAS)) + b"}"
    tracemalloc.start()
    try:
        with pytest.raises(WrongShape, match="too many members"):
            from_json(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(body)


TEXTS: list[Any] = ["", "v", "é" * MAX_VERSION, "v" * (MAX_VERSION + 1), "v" * (MAX_TOKEN + 1)]
VALUES: list[Any] = [*TEXTS, None, 1, True, [], {}, [{}]]


@pytest.mark.parametrize("name", ["version", "token", "payloads", "data", "other"])
@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("array", [{}, {"payloads": [{}]}, {"data": [{}]}], ids=repr)
def test_gate_and_schema_agree(name: str, value: Any, array: dict[str, Any]) -> None:
    """What msgspec lets pass is what marshmallow's EnvelopeSchema lets pass."""
    envelope = {name: value, **array}
    try:
        count = from_json(msgspec.json.encode(envelope)).count
    except WrongShape as refusal:
        accepted = refusal.detail == "There are no payloads."
    else:
        accepted = count == 1
    assert accepted == (not EnvelopeSchema().validate(envelope))
