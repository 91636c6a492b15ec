"""Bodies of `/events`, of CloudEvents in binary mode, of endpoints: what becomes a payload."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies

from app.http.problems import Problem
from app.ingest.formats.cloudevents import is_binary, read_binary
from app.ingest.formats.endpoint_format import key_in, read_endpoint
from app.ingest.formats.json_values import read_values

LIMIT = 1 << 20
OBJECTS = strategies.dictionaries(
    strategies.text(strategies.characters(exclude_categories=["Cs"])),
    strategies.recursive(
        strategies.none()
        | strategies.booleans()
        | strategies.integers(-(10**30), 10**30)
        | strategies.text(strategies.characters(exclude_categories=["Cs"])),
        lambda inner: strategies.lists(inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)


@settings(deadline=None)
@given(
    strategies.lists(OBJECTS, min_size=1, max_size=5),
    strategies.sampled_from(["", "\n", " \r\n\t"]),
    strategies.sampled_from([None, 1]),
)
def test_values_in_a_row(objects: list[Any], between: str, indent: int | None) -> None:
    """Objects one after another come out one a line, whatever stands between, laid out or not."""
    body = between.join(json.dumps(each, indent=indent, ensure_ascii=False) for each in objects)
    collection = read_values(body.encode())
    assert [json.loads(line) for line in collection.lines.splitlines()] == objects
    assert collection.count == len(objects)


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b'{"n": 1.50}', [b'{"n": 1.50}']),
        (b'[{"n":1},{"n":2}]', [b'{"n":1}', b'{"n":2}']),
        (b'[{"n":1}]\n{"n":2}\n[]', [b'{"n":1}', b'{"n":2}']),
        (b' {\n"n" : 1e400\n}\n', [b'{"n":1e400}']),
    ],
)
def test_events_keep_their_bytes(body: bytes, lines: list[bytes]) -> None:
    """Numbers and strings are stored as they were sent; only layout between lines goes."""
    assert read_values(body).lines.splitlines() == lines


@pytest.mark.parametrize(
    "body", [b'{"n":1} x', b'{"n":NaN}{}', b"{} 5", b'"text"', b"null", b'{"a":1}{"b"', b"{}[5]"]
)
def test_what_is_no_event_is_refused(body: bytes) -> None:
    """All of a body, or nothing of it."""
    with pytest.raises((Problem, msgspec.DecodeError)):
        read_values(body)


HEADERS = [
    ("ce-specversion", "1.0"),
    ("ce-id", "7"),
    ("ce-source", "/s"),
    ("ce-type", "t%20%C3%A9"),
    ("x-other", "no"),
]


@pytest.mark.parametrize(
    ("body", "content_type", "data"),
    [
        (b'{"n":1.50}', "application/json; charset=utf-8", {"data": {"n": 1.5}}),
        (b'{"n":1}', "application/vnd.x+json", {"data": {"n": 1}}),
        (b'{"n":1}', "", {"data": {"n": 1}}),
        (b"\x00\xff", "", {"data_base64": "AP8="}),
        ("é".encode(), "text/plain", {"data": "é"}),
        (b"\xff", "text/plain", {"data_base64": "/w=="}),
        (b"", "", {}),
    ],
)
def test_a_binary_cloudevent_becomes_a_structured_one(
    body: bytes, content_type: str, data: dict[str, Any]
) -> None:
    """Attributes come from the headers, percent-decoded; data is JSON, text or base64."""
    assert is_binary([name for name, _ in HEADERS])
    event = json.loads(read_binary(body, content_type=content_type, headers=HEADERS).lines)
    expected = {"specversion": "1.0", "id": "7", "source": "/s", "type": "t é", **data}
    if content_type:
        expected["datacontenttype"] = content_type
    assert event == expected


def test_a_cloudevent_needs_its_attributes() -> None:
    """A missing id is named."""
    with pytest.raises(Problem, match="ce-id"):
        read_binary(b"", content_type="", headers=[item for item in HEADERS if item[0] != "ce-id"])


SEGMENT = b'{"batch":[{"type":"track","n":1.0},{"type":"page"}],"writeKey":"k","sentAt":"now"}'


def test_an_endpoint_finds_its_payloads_and_key() -> None:
    """The payloads are where the pointer says; the other members are left away."""
    collection = read_endpoint(
        SEGMENT, payloads="/batch", key="/writeKey", envelope=False, limit=LIMIT
    )
    assert collection.lines == b'{"type":"track","n":1.0}\n{"type":"page"}\n'
    assert key_in(SEGMENT, "/writeKey") == "k"
    for body in (b"", b"{", b"[]", b'{"writeKey":5}', b"[" * 100_000):
        assert key_in(body, "/writeKey") is None


def test_an_endpoint_keeps_the_envelope_but_not_the_key() -> None:
    """The members beside the payloads are kept with each; the key reaches no object."""
    collection = read_endpoint(
        SEGMENT, payloads="/batch", key="/writeKey", envelope=True, limit=LIMIT
    )
    first, second = (json.loads(line) for line in collection.lines.splitlines())
    assert first == {"envelope": {"sentAt": "now"}, "payload": {"type": "track", "n": 1.0}}
    assert second["payload"] == {"type": "page"}
    nested = b'{"auth":{"token":"k","x":1},"data":{"events":[{}],"y":2}}'
    collection = read_endpoint(
        nested, payloads="/data/events", key="/auth/token", envelope=True, limit=LIMIT
    )
    assert json.loads(collection.lines)["envelope"] == {"auth": {"x": 1}, "data": {"y": 2}}
    assert key_in(nested, "/auth/token") == "k"


def test_the_body_itself_may_be_the_payloads() -> None:
    """The empty pointer is the whole body: an array, or one object."""
    assert read_endpoint(b"[{},{}]", payloads="", key=None, envelope=False, limit=LIMIT).count == 2
    assert (
        read_endpoint(b'{"a":1}', payloads="", key=None, envelope=False, limit=LIMIT).lines
        == b'{"a":1}\n'
    )


@pytest.mark.parametrize("body", [b'{"batch":5}', b'{"batch":[5]}', b"{}", b"[]", b'{"batch":[]}'])
def test_an_endpoint_without_payloads_is_refused(body: bytes) -> None:
    """What the pointer does not find, or finds no objects at, is a 422."""
    with pytest.raises(Problem):
        read_endpoint(body, payloads="/batch", key=None, envelope=False, limit=LIMIT)
