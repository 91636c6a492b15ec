"""Placement: how a collection is cut into runs over segments. Pure functions; no lock, no disk."""

from collections.abc import Callable
from typing import NamedTuple

from workers.segments.partitions import Part
from workers.segments.ratios import Profile
from workers.segments.segment import RUN_BYTES, SEGMENT_BYTES, Segment

# A segment this near to its target is full: within 10 % of it either way, half of that to spare.
FULL_ENOUGH = 0.95

# Lines, each ended by a newline, and how many they are.
Piece = tuple[bytes, int]


class Plan(NamedTuple):
    """Where one part of a collection goes.

    `segment` is the one that is open for its partition. With `joins` the part's one piece goes to
    that; else each piece goes to a new segment, and all but the last are sealed, `segment` too.
    """

    part: Part
    profile: Profile | None
    segment: Segment | None
    joins: bool
    pieces: list[Piece]

    @property
    def jobs(self) -> int:
        """How many segments are sealed."""
        return 0 if self.joins else len(self.pieces) - (self.segment is None)

    @property
    def size(self) -> int:
        """How many bytes of the budget it takes."""
        each = RUN_BYTES if self.joins else RUN_BYTES + SEGMENT_BYTES
        return len(self.part.lines) + len(self.pieces) * each


def fits(segment: Segment, size: int, count: int, max_lines: int) -> bool:
    """Whether `count` lines of `size` bytes fit into an open segment."""
    return (
        not segment.write_failed
        and segment.reserved_lines + count <= max_lines
        and segment.reserved_size + size <= segment.target_size
    )


def is_full(segment: Segment, max_lines: int) -> bool:
    """Whether an open segment should be sealed now, however young it is."""
    return (
        segment.write_failed
        or segment.reserved_lines >= max_lines
        or segment.reserved_size >= segment.target_size * FULL_ENOUGH
    )


def is_void(segment: Segment) -> bool:
    """Whether a segment has no line and never will: its first write failed."""
    return segment.write_failed and not segment.lines


def cut(lines: bytes, count: int, *, reach: Callable[[int], int], max_lines: int) -> list[Piece]:
    """Cut a collection between payloads into what one segment each may hold.

    `reach` returns how many bytes that is, from an offset on. Only a single larger payload makes a
    larger piece.
    """
    if count <= max_lines and len(lines) <= reach(0):
        return [(lines, count)]
    pieces: list[Piece] = []
    start = 0
    while start < len(lines):
        end = lines.rfind(b"\n", start, start + reach(start)) + 1
        if not end:
            end = lines.index(b"\n", start) + 1
        n = lines.count(b"\n", start, end)
        if n > max_lines:
            end, n = start, max_lines
            for _ in range(max_lines):
                end = lines.index(b"\n", end) + 1
        pieces.append((lines[start:end], n))
        start = end
    return pieces
