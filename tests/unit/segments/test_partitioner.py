"""Collections split by members of their payloads: each payload once, in order, in its place."""

import json
import string
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workers.errors import TooManyPayloads
from workers.segments import partitioner
from workers.segments.key_template import KeyTemplate
from workers.segments.partitioner import Partitioner
from workers.segments.partitions import Part
from workers.segments.values import NO_VALUE, escape

SAFE = set(string.ascii_letters + string.digits + "-._~%=")
FIELDS = ("payload.a", "payload.b.c")


class Number(str):
    """A JSON number as it is written."""

    __slots__ = ()


def split(
    *payloads: bytes, fields: Sequence[str] = FIELDS, most: int = 100, wrapped: int = 0
) -> list[Part]:
    """Split payloads of the stream `s`."""
    made = Partitioner(fields, event_time="/t/at", most=most)
    lines = b"".join(payload + b"\n" for payload in payloads)
    return made.split("s", lines, count=len(payloads), wrapped=wrapped)


def expected(payload: bytes) -> str:
    """Return the partition by Python's own reader, which keeps the last of repeated members."""
    value = json.loads(payload, parse_int=Number, parse_float=Number)
    inner = value.get("b")
    return "/".join(
        ["s", text(value.get("a")), text(inner.get("c") if isinstance(inner, dict) else None)]
    )


def text(value: Any) -> str:
    """Return the text of a value as it was read."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            # What is no Unicode is replaced, as most readers do.
            return escape(value.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return NO_VALUE


VALUES = st.one_of(
    st.sampled_from([b"null", b"true", b"-0", b"1e5", b"{}", b'{"c":1}', b"[{}]", b'"x\\ud83d"']),
    st.text(max_size=5).map(lambda found: json.dumps(found).encode()),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5).map(
        lambda found: json.dumps(found, ensure_ascii=False).encode()
    ),
    st.integers().map(lambda found: b"%d" % found),
)
NAMES = st.sampled_from([b'"a"', b'"b"', b'"\\u0061"', b'"c"', b'"x\\udc00"'])
OBJECTS = st.lists(st.tuples(NAMES, VALUES | st.just(b'{"c":2,"c":"y"}')), max_size=4).map(
    lambda members: b"{" + b" ,".join(name + b": " + value for name, value in members) + b"}"
)


@settings(deadline=None)
@given(st.lists(OBJECTS, min_size=1, max_size=12))
@example([b'{"a":1,"a":2}'])
@example([b'{"b":{"c":1},"b":{"d":1}}', b"{}"])
@example([b'{"a":"\\ud83d"}', b'{"a":"\\ufffd"}', b'{"a":"\\ud83d\\ude00"}'])
@example([b'{"a":"\\\\ud83d"}'])
def test_each_payload_is_in_its_partition_once(payloads: list[bytes]) -> None:
    """Property: the parts have the payloads in order; which member counts is the last, as read."""
    parts = split(*payloads)
    found: dict[int, str] = {}
    for part in parts:
        indexes = [
            n
            for first, last in part.indexes or ((0, len(payloads) - 1),)
            for n in range(first, last + 1)
        ]
        assert indexes == sorted(indexes)
        assert part.lines == b"".join(payloads[n] + b"\n" for n in indexes)
        assert part.count == len(indexes)
        found |= dict.fromkeys(indexes, part.partition)
    assert found == {n: expected(payload) for n, payload in enumerate(payloads)}
    assert len({part.partition for part in parts}) == len(parts)


@settings(deadline=None)
@given(st.lists(OBJECTS, min_size=1, max_size=4), st.sampled_from([1, 2]))
def test_an_envelope_changes_nothing(payloads: list[bytes], wrapped: int) -> None:
    """Property: the payload counts, and not what is around it."""
    opening, ending = b'{"a":"not this","payload":' * wrapped, b"}" * wrapped
    enveloped = [opening + payload + ending for payload in payloads]
    found = split(*enveloped, wrapped=wrapped)
    plain = split(*payloads)
    assert [(p.partition, p.indexes) for p in found] == [(p.partition, p.indexes) for p in plain]


def test_ranges_are_as_few_as_can_be() -> None:
    """Payloads that follow each other are one range; one partition needs none."""
    a, b = b'{"a":1}', b'{"a":2}'
    first, second = split(a, a, b, a, b, b)
    assert (first.indexes, second.indexes) == (((0, 1), (3, 3)), ((2, 2), (4, 5)))
    assert split(a, a)[0].indexes is None


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_a_large_collection_is_split_part_by_part(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Where it is cut makes no difference."""
    payloads = [b'{"a":%d}' % (n % 3 if n % 10 < 5 else 0) for n in range(100)]
    whole = split(*payloads)
    monkeypatch.setattr(partitioner, "PART_BYTES", size)
    assert split(*payloads) == whole


@pytest.mark.parametrize("payload", [b"1", b'"x"', b"[]", b"null", b"true"])
def test_a_webhook_may_carry_any_value(payload: bytes) -> None:
    """What is no object has no members."""
    parts = split(b'{"a":1,"payload":%b}' % payload, b'{"payload":{"a":1}}', wrapped=1)
    assert [part.partition for part in parts] == [f"s/{NO_VALUE}/{NO_VALUE}", f"s/1/{NO_VALUE}"]


def test_payloads_as_deep_as_can_be_are_split() -> None:
    """A depth that was still read may be too deep a few frames further: it has no value then."""
    depth = sys.getrecursionlimit() * 2
    deep = b'{"a":1,"x":' + b"[" * depth + b"]" * depth + b"}"
    parts = split(deep, b'{"a":1}')
    assert sum(part.count for part in parts) == 2


def test_more_partitions_than_may_be_open_are_refused() -> None:
    """As soon as they are counted."""
    payloads = [b'{"a":%d}' % n for n in range(4)]
    assert len(split(*payloads, most=4)) == 4
    with pytest.raises(TooManyPayloads, match="more than 3 partitions"):
        split(*payloads, most=3)


def test_indexes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are part of the response, and in memory until it is sent."""
    monkeypatch.setattr(partitioner, "MAX_RANGES", 4)
    payloads = [b'{"a":%d}' % (n % 2) for n in range(5)]
    assert len(split(*payloads[:4])) == 2
    with pytest.raises(TooManyPayloads, match="more than 4 times"):
        split(*payloads)


def test_events_go_by_their_time() -> None:
    """Date and hour are of one time; without one, those of arrival."""
    payloads = [b'{"t":{"at":"2020-01-01T01:00:00+02:00"}}', b'{"t":1}']
    old, arrived = split(*payloads, fields=("event_hour", "payload.t", "event_date"))
    assert old.partition == f"s/23/{NO_VALUE}/2019-12-31"
    assert arrived.partition.startswith("s/")
    assert arrived.partition.split("/")[3] > "2026"


@settings(deadline=None)
@given(st.lists(VALUES | st.text().map(lambda t: json.dumps(t).encode()), min_size=2, max_size=2))
@example([b'"../../_dead"', b'"/"'])
@example([b'".."', b'"."'])
@example([b'"_dead"', b'"x/_watermark"'])
def test_no_payload_chooses_another_place(values: list[bytes]) -> None:
    """Property: the key is what the template says but for one path segment for each value."""
    template = KeyTemplate.parse("{stream}/{payload.a}/b={payload.b.c}/{segment}")
    [part] = split(b'{"a":%b,"b":{"c":%b}}' % (values[0], values[1]))
    key = template.key(part.partition, "name")
    stream, first, second, name = key.split("/")
    assert (stream, name) == ("s", "name")
    assert first not in {"", ".", ".."}
    assert second.startswith("b=")
    assert len(first) <= 128
    assert len(second) <= 128 + len("b=")
    assert set(first + second) <= SAFE
