"""What decoding may cost: bounds on values, time and memory."""

import tracemalloc

import pytest

from app.http.problems import TooLarge
from app.ingest.formats import decoding
from app.ingest.formats.collection import MAX_COMMAS, PART_BYTES
from app.ingest.formats.decoding import decode
from tests.unit.ingest.samples import (
    JSON,
    NDJSON,
    OneSchema,
    from_json,
    from_ndjson,
)


def test_a_large_array_of_next_to_nothing_is_refused() -> None:
    """An array of millions of tiny values is refused before it is taken apart."""
    body = b"[" + b"1," * (2 * MAX_COMMAS) + b"1]"
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="commas"):
            from_json(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(body)


def test_as_many_commas_as_allowed() -> None:
    """The bound on commas is the last number accepted, and counts in one payload, too."""
    payload = b'{"a":[' + b"1," * MAX_COMMAS + b"1]}"
    assert from_json(b"[" + payload + b"]").lines == payload + b"\n"
    with pytest.raises(TooLarge):
        from_json(b"[{}," + payload + b"]")


def test_as_many_payloads_as_allowed_cost_little() -> None:
    """A million tiny payloads in an array take no more than a slice each, beside their bytes."""
    body = b"[" + b'{"a":1},' * MAX_COMMAS + b"{}]"
    tracemalloc.start()
    try:
        assert from_json(body).lines == b'{"a":1}\n' * MAX_COMMAS + b"{}\n"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 90 * MAX_COMMAS + 3 * len(body)


def test_commas_in_lines_are_free() -> None:
    """NDJSON is read in parts, so only a schema, which builds a payload, bounds its commas."""
    payload = b'{"a":[' + b"1," * (MAX_COMMAS + 1) + b"1]}"
    assert from_ndjson(payload).count == 1
    with pytest.raises(TooLarge):
        decode(payload, content_type=NDJSON, schema=OneSchema())


def test_many_small_lines_cost_little() -> None:
    """A million tiny lines take no more than a few times their own size while they are read."""
    body = b"{}\n" * 1_000_000
    tracemalloc.start()
    try:
        assert from_ndjson(body).count == 1_000_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(body) + 40 * PART_BYTES


def test_many_content_types_are_not_remembered() -> None:
    """Clients choose content types, so only so many are kept."""
    for number in range(1000):
        decode(b"[{}]", content_type=f"{JSON}; n={number}")
    assert decoding._reader.cache_info().currsize <= 64
