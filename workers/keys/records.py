"""Key records as bytes: in a segment file before their lines, in a key log with their place.

    record := digest (16) · body (32) · accepted (u32) · total (u32) · indexed (u8)
              · n (u32) · n times range
    range  := first (u32) · last (u32)
    entry  := length of record (u32) · length of place (u32) · record · place
    place  := first line (u32) · count (u32) · segment, stream, bucket, key: newlines between them

Without ranges a record is of all the payloads of its request.
"""

import struct
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256

import msgspec

from workers.segments.partitions import Indexes
from workers.segments.segment import Header

_RECORD = struct.Struct("<16s32sIIBI")
_RANGE = struct.Struct("<II")
_LENGTHS = struct.Struct("<II")
_PLACE = struct.Struct("<II")
# An entry whose record is of all payloads, up to the names.
_WHOLE = struct.Struct("<II16s32sIIBIII")
# Digest, acceptance and number of ranges of the entry at an offset; none: it is of all payloads.
read_head = struct.Struct("<8x16s32xI5xI").unpack_from
RECORD_BYTES, LENGTHS_BYTES = _RECORD.size, _LENGTHS.size
_PLACE_BYTES = _PLACE.size
_RECORD_END = LENGTHS_BYTES + RECORD_BYTES
DIGEST_BYTES = 16


class KeyRecord(msgspec.Struct, frozen=True, gc=False):
    """What one run of a request with a key says of it.

    `digest` is of the key and its scope, `body` the SHA-256 of the decoded body. `accepted` is
    seconds since 1970, `total` how many payloads the request has; `ranges` which of them the run
    has, counted from 0, and empty if it has all. `indexed`: the answer names them.
    """

    digest: bytes
    body: bytes
    accepted: int
    total: int
    ranges: Indexes = ()
    indexed: bool = False

    @property
    def covered(self) -> Indexes:
        """Which payloads the run has."""
        return self.ranges or ((0, self.total - 1),)


class KeyEntry(msgspec.Struct, frozen=True, gc=False):
    """A key record and where its payloads are: `count` lines of an object from `first_line` on.

    Of the segment's header it does not say the compression.
    """

    record: KeyRecord
    first_line: int
    count: int
    header: Header


def digest_of(*scope: str) -> bytes:
    """Return what stands for a key within its scope; none of the parts holds a zero byte."""
    return sha256("\0".join(scope).encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]


def pack_record(record: KeyRecord) -> bytes:
    """Return a record's bytes."""
    ranges = record.ranges
    head = _RECORD.pack(
        record.digest, record.body, record.accepted, record.total, record.indexed, len(ranges)
    )
    if not ranges:
        return head
    return head + b"".join([_RANGE.pack(first, last) for first, last in ranges])


def pack_whole(  # noqa: PLR0917 (by keyword they take half as long again)
    digest: bytes, body: bytes, accepted: int, total: int, header: Header, first_line: int
) -> tuple[bytes, bytes]:
    """Return entry and record of a run that has all payloads of its request."""
    names = _names(header)
    place = _PLACE_BYTES + len(names)
    head = _WHOLE.pack(RECORD_BYTES, place, digest, body, accepted, total, 0, 0, first_line, total)
    return head + names, head[LENGTHS_BYTES:_RECORD_END]


def unpack_record(data: bytes) -> KeyRecord:
    """Read a record.

    Raises:
        ValueError: it is none.
    """
    try:
        digest, body, accepted, total, indexed, n = _RECORD.unpack_from(data)
    except struct.error as error:
        raise ValueError(str(error)) from error
    if len(data) != RECORD_BYTES + n * _RANGE.size:
        raise ValueError("a key record of another length")
    ranges = tuple(_RANGE.iter_unpack(data[RECORD_BYTES:]))
    return KeyRecord(digest, body, accepted, total, ranges, bool(indexed))


def pack_entry(record: bytes, header: Header, *, first_line: int, count: int) -> bytes:
    """Return the log's entry of a record that is packed already."""
    names = _names(header)
    lengths = _LENGTHS.pack(len(record), _PLACE.size + len(names))
    return b"".join((lengths, record, _PLACE.pack(first_line, count), names))


@lru_cache(maxsize=1024)
def _names(header: Header) -> bytes:
    return f"{header.name}\n{header.stream}\n{header.bucket}\n{header.key}".encode()


def unpack_entry(data: bytes) -> KeyEntry:
    """Read an entry.

    Raises:
        ValueError: it is none.
    """
    size, place_size = entry_lengths(data)
    end = LENGTHS_BYTES + size
    if len(data) != end + place_size or place_size < _PLACE.size:
        raise ValueError("a key's entry of another length")
    first_line, count = _PLACE.unpack_from(data, end)
    name, stream, bucket, key = data[end + _PLACE.size :].decode().split("\n")
    header = Header(name=name, stream=stream, bucket=bucket, key=key, compression="")
    return KeyEntry(unpack_record(data[LENGTHS_BYTES:end]), first_line, count, header)


def unpack_entries(data: bytes) -> list[KeyEntry]:
    """Read entries that follow each other.

    Raises:
        ValueError: they are none.
    """
    found, at = [], 0
    while at < len(data):
        end = at + LENGTHS_BYTES + sum(entry_lengths(data, at))
        found.append(unpack_entry(data[at:end]))
        at = end
    return found


def entry_lengths(data: bytes, at: int = 0) -> tuple[int, int]:
    """Return the lengths of an entry's record and place.

    Raises:
        ValueError: the data ends before.
    """
    try:
        size, place_size = _LENGTHS.unpack_from(data, at)
    except struct.error as error:
        raise ValueError(str(error)) from error
    return size, place_size


def scan(entries: bytes) -> Iterator[tuple[bytes, int, bool, int]]:
    """Yield digest, acceptance, whether it is of all payloads, and offset of each entry."""
    at, end = 0, len(entries)
    while at < end:
        size, place_size = _LENGTHS.unpack_from(entries, at)
        digest, accepted, n = read_head(entries, at)
        yield digest, accepted, not n, at
        at += LENGTHS_BYTES + size + place_size
