"""A segment: an append-only run of payload lines that becomes exactly one S3 object.

Only data. The intake reserves room in it, a journal makes the lines safe, a worker uploads it.
"""

import math
import threading
import time
from collections.abc import Iterator
from typing import Protocol

import msgspec

# What a run and a segment cost in memory beside their bytes, so that tiny payloads are bounded too.
RUN_BYTES, SEGMENT_BYTES = 128, 4096


class Header(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """What is fixed at a segment's creation, so that no restart and no new setting moves it."""

    name: str
    stream: str
    bucket: str
    key: str
    compression: str


class CompressedRun(msgspec.Struct, frozen=True, gc=False):
    """Whole lines that are compressed already; `size` and `crc` (CRC-32) are those of the lines.

    `data` can be a part of an object of this `compression` as it is.
    """

    compression: str
    data: bytes
    size: int
    crc: int


class Body(Protocol):
    """Where a segment's lines are."""

    def read(self) -> Iterator[bytes]:
        """Yield the lines in runs of whole lines. May block on the disk."""
        ...

    def runs(self) -> Iterator[bytes | CompressedRun]:
        """Yield the same runs as they are kept, some of them compressed. May block on the disk."""
        return self.read()

    def read_damaged(self, lines: int, lost: list[tuple[int, int]]) -> Iterator[bytes]:
        """Yield what can be read of `lines` lines, empty ones for the rest; `lost` says which."""
        ...

    def make_ready(self) -> bool:
        """Whether the lines can change no more, not even by a power cut. May block on the disk."""
        ...

    def discard(self) -> None:
        """Discard the lines: they are stored, or kept elsewhere. May block on the disk."""
        ...


class MemoryBody(Body):
    """Lines held in memory."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    def read(self) -> Iterator[bytes]:
        """Yield the lines in runs."""
        return iter(self.chunks)

    def read_damaged(self, lines: int, lost: list[tuple[int, int]]) -> Iterator[bytes]:
        """Yield the lines in runs: memory does not rot."""
        del lines, lost
        return iter(self.chunks)

    def make_ready(self) -> bool:
        """Return True: a sealed segment's lines are only read."""
        return True

    def discard(self) -> None:
        """Free the memory."""
        self.chunks = []


class SizeEstimate:
    """What samples show of a segment's object; changed by the estimator alone.

    Of `sampled` bytes of lines, `likely` is the size as stored, and `most` what it does not exceed
    by those samples; `variance` is that of `most`, by how much each sample differs from the one
    before. `last` is the fraction, bytes as stored over bytes, that the last sample came to.
    `parts` is the sample that is being taken. `exponent` is the stream's when the segment was
    opened.
    """

    __slots__ = (
        "exponent",
        "last",
        "likely",
        "most",
        "parts",
        "parts_size",
        "sampled",
        "variance",
    )  # fmt: skip

    def __init__(self) -> None:
        self.exponent = 1.0
        self.sampled = self.parts_size = 0
        self.likely = self.most = self.variance = self.last = 0.0
        self.parts: list[bytes] = []


class Segment:
    """One segment from its first line to its object.

    `reserved_*` is what the intake has promised room to; `lines` and `size` (bytes, uncompressed)
    are what the journal has made safe. `target_size` is what it should come to, in the same bytes,
    and `sample_at` where it is sampled next.
    `held_bytes` is what it takes of the budget. `last_use` grows with each use of any segment.
    `seal_by` is when it is to be sealed, however young, as requests wait for its object.
    `partition` is what it is open for: its stream, or one of the partitions of that.
    `frozen` is set once nothing can be added any more.
    One with `write_failed` lost lines that it had promised room to, and takes no more.
    """

    __slots__ = (
        "body",
        "created_at",
        "estimate",
        "frozen",
        "header",
        "held_bytes",
        "last_use",
        "lines",
        "partition",
        "reserved_lines",
        "reserved_size",
        "sample_at",
        "seal_by",
        "sealed",
        "size",
        "target_size",
        "write_failed",
    )  # fmt: skip

    def __init__(self, header: Header, body: Body) -> None:
        self.header = header
        self.partition = header.stream
        self.target_size: float = 0.0
        self.sample_at: float = math.inf
        self.estimate = SizeEstimate()
        self.body = body
        self.created_at = time.monotonic()
        self.seal_by = math.inf
        self.reserved_lines = 0
        self.reserved_size = 0
        self.held_bytes = 0
        self.last_use = 0
        self.lines = 0
        self.size = 0
        self.sealed = False
        self.write_failed = False
        self.frozen = threading.Event()

    @property
    def name(self) -> str:
        """The segment's name, which is never used again."""
        return self.header.name


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """Where a run of payloads is going to be: lines of one object, the first line being 1."""

    header: Header
    first_line: int
    count: int
