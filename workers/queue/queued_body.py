"""The lines of a segment in Redis: how a part is written, and how all are read, a few at a time.

A part is whole lines, as they are or compressed. A compressed one begins with a byte that no line
begins with, and says how many bytes of lines it is and their CRC-32 (little-endian):

    part       = lines | compressed
    compressed = mark (1 byte: 1 gzip, 2 zstd)  size (4 bytes)  crc (4 bytes)  data
"""

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from workers.errors import QueueUnavailable
from workers.segments.compressors import compress_run, decompress_run
from workers.segments.naming import created_microseconds
from workers.segments.segment import RUN_BYTES, SEGMENT_BYTES, Body, CompressedRun, Segment

if TYPE_CHECKING:
    from workers.queue.redis_client import Arg, RedisServer

# Smaller parts stay as they are: apart from each other they compress badly. The worker compresses
# them together.
COMPRESSED_FROM = 1 << 14
_MARKS = {"gzip": 1, "zstd": 2}
_COMPRESSIONS = {mark: compression for compression, mark in _MARKS.items()}
_HEAD = struct.Struct("<BII")

# About as much of a segment is in memory at one time, unless a single part is larger.
READ_BYTES = 1 << 20


class QueuedBody(Body):
    """A segment's lines: a list of parts, each what one group commit brought.

    `parts` is how many have been appended, `size` the bytes of all.
    """

    def __init__(self, server: "RedisServer", name: str, *, size: int = 0) -> None:
        self.parts = 0
        self.size = size
        self._server = server
        self._key = f"{server.prefix}lines:{name}"

    def read(self) -> Iterator[bytes]:
        """Yield the lines of the parts in order. Blocks on the network; raises as `runs`."""
        return map(_lines_of, self.runs())

    def runs(self) -> Iterator[bytes | CompressedRun]:
        """Yield the parts in order, as they are. Blocks on the network.

        Raises:
            QueueUnavailable: the server does not answer, or the lines are not there any more: the
                lease was lost, and another worker has finished the segment.
        """
        parts = int(self._server.call("LLEN", self._key))
        at_once = max(1, READ_BYTES * parts // max(1, self.size))
        found = 0
        for start in range(0, parts, at_once):
            for part in self._server.call("LRANGE", self._key, start, start + at_once - 1):
                run = decode_part(part)
                found += run.size if isinstance(run, CompressedRun) else len(run)
                yield run
        if found != self.size:
            raise QueueUnavailable("its lines are not in the queue: another worker has had it")

    def read_damaged(self, lines: int, lost: list[tuple[int, int]]) -> Iterator[bytes]:
        """Yield the lines of the parts in order: the queue has all of them, or none."""
        del lines, lost
        return self.read()

    def make_ready(self) -> bool:
        """Return True: a sealed segment takes no more."""
        return True

    def discard(self) -> None:
        """Do nothing: the lines go when the segment is finished."""


def queued(segment: Segment) -> QueuedBody:
    """Return the body of a segment that is in the queue."""
    assert isinstance(segment.body, QueuedBody)
    return segment.body


def part_of(segment: Segment, lines: bytes, *, count: int) -> "list[Arg]":
    """Return what the append script gets for the next part of a segment, of `count` lines."""
    body, name = queued(segment), segment.name
    is_first = body.parts == 0
    part = encode_part(lines, compression=segment.header.compression)
    held = len(part) + RUN_BYTES + (SEGMENT_BYTES if is_first else 0)
    header = msgspec.json.encode(segment.header) if is_first else b""
    created = created_microseconds(name) // 1000
    return [name, header, created, body.parts + 1, count, len(lines), held, part]


def encode_part(lines: bytes, *, compression: str) -> bytes:
    """Return lines as a part of a segment whose object has this compression."""
    if compression not in _MARKS or len(lines) < COMPRESSED_FROM:
        return lines
    run = compress_run(lines, compression=compression)
    return _HEAD.pack(_MARKS[compression], run.size, run.crc) + run.data


def decode_part(part: bytes) -> bytes | CompressedRun:
    """Undo `encode_part`, but for the compression."""
    if part[:1] not in (b"\x01", b"\x02"):
        return part
    mark, size, crc = _HEAD.unpack_from(part)
    return CompressedRun(_COMPRESSIONS[mark], part[_HEAD.size :], size, crc)


def _lines_of(run: bytes | CompressedRun) -> bytes:
    return decompress_run(run) if isinstance(run, CompressedRun) else run
