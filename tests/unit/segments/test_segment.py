"""The segment and its header."""

import msgspec
import pytest

from workers.segments.segment import Header, MemoryBody, Receipt, Segment

HEADER = Header(name="n", stream="s", bucket="b", key="s/n.gz", compression="gzip")


def test_a_header_is_what_was_written() -> None:
    """A header read back from the disk is the one that the segment was created with."""
    assert msgspec.json.decode(msgspec.json.encode(HEADER), type=Header) == HEADER


def test_a_header_of_a_newer_version_can_be_read() -> None:
    """What a later version adds does not stop an earlier one from uploading the segment."""
    fields = {**msgspec.to_builtins(HEADER), "added": 1}
    assert msgspec.convert(fields, Header) == HEADER


def test_what_is_fixed_stays_fixed() -> None:
    """Neither a header nor a receipt can be changed after it was given."""
    with pytest.raises(AttributeError):
        HEADER.key = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Receipt(HEADER, 1, 1).count = 2  # type: ignore[misc]


def test_a_memory_body_lets_go() -> None:
    """A stored segment's lines do not stay in memory."""
    body = MemoryBody()
    body.chunks += [b"1\n", b"2\n"]
    segment = Segment(HEADER, body)
    assert segment.name == "n"
    assert list(segment.body.read()) == [b"1\n", b"2\n"]
    segment.body.discard()
    assert list(segment.body.read()) == []
