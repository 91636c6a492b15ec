"""Splits a collection by the fields of payloads that are in the key template. Blocks on nothing.

Without such fields there is no partitioner, and nothing is done for a payload.
"""

import time
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Final

from workers.errors import TooManyPayloads
from workers.segments.event_time import hour_of, hours_of
from workers.segments.key_template import EVENT_FIELDS, KeyTemplate, Path, path_of, pointer_path
from workers.segments.members import Members
from workers.segments.partitions import Part
from workers.segments.values import text_of, texts_of

# A body is looked at in parts: its members in memory take several times its size.
PART_BYTES: Final = 256 << 10
# How many ranges the indexes of a collection may have: each takes 17 bytes of the response.
MAX_RANGES: Final = 1 << 17
# Where an envelope has the payload.
PAYLOAD: Final = "payload"
# An endpoint's envelope in that of LINE_FORMAT.
MAX_WRAPPED: Final = 2


class Partitioner:
    """Safe to share between threads."""

    def __init__(self, fields: Sequence[str], *, event_time: str | None, most: int) -> None:
        self._most = most
        event = pointer_path(event_time) if event_time else ()
        paths = [event if field in EVENT_FIELDS else path_of(field) for field in fields]
        self._fields = [
            _Fields(fields, [(PAYLOAD,) * depth + path for path in paths])
            for depth in range(MAX_WRAPPED + 1)
        ]

    @classmethod
    def of(cls, template: str, *, event_time: str | None, most: int) -> "Partitioner | None":
        """Return a partitioner; None where the template has no field of a payload."""
        fields = KeyTemplate.parse(template).fields
        return cls(fields, event_time=event_time, most=most) if fields else None

    def partition(self, stream: str, line: bytes, *, wrapped: int = 0) -> str:
        """Return the partition of a collection of one payload; see `split`."""
        return self._fields[wrapped].partition(stream, line)

    def split(self, stream: str, lines: bytes, *, count: int, wrapped: int = 0) -> list[Part]:
        """Split a collection; each part has its payloads in their order.

        `wrapped` says in how many envelopes a payload is.

        Raises:
            TooManyPayloads: they are of more partitions than may be open, or in too much disorder.
        """
        if count == 1:
            return [Part(self.partition(stream, lines, wrapped=wrapped), lines, 1)]
        fields, now, groups = self._fields[wrapped], time.time(), _Groups(self._most)
        for chunk in _chunks(lines):
            groups.add(chunk, fields.partitions(stream, chunk, now=now))
        return groups.parts(lines, count)


class _Fields:
    """The fields of a template, and where in a line each has its value."""

    def __init__(self, fields: Sequence[str], paths: Sequence[Path]) -> None:
        # Which part of an event's hour a field is; None: a member's text.
        self._parts = [
            EVENT_FIELDS.index(field) if field in EVENT_FIELDS else None for field in fields
        ]
        self._has_events = any(part is not None for part in self._parts)
        self._members = Members(paths)

    def partition(self, stream: str, line: bytes) -> str:
        """Return the partition of a line that arrives now."""
        values = self._members.find_one(line)
        if not self._has_events:
            return "/".join([stream, *map(text_of, values)])
        texts, now = [stream], time.time()
        for part, value in zip(self._parts, values, strict=True):
            texts.append(text_of(value) if part is None else hour_of(value, now=now)[part])
        return "/".join(texts)

    def partitions(self, stream: str, lines: bytes, *, now: float) -> list[str]:
        """Return each line's partition."""
        texts: list[list[str]] = []
        for part, values in zip(self._parts, self._members.find(lines), strict=True):
            if part is None:
                texts.append(texts_of(values))
            else:
                texts.append([hour[part] for hour in hours_of(values, now=now)])
        # Most often they are the same objects, out of a cache.
        if all(column.count(column[0]) == len(column) for column in texts):
            return ["/".join([stream, *[column[0] for column in texts]])] * len(texts[0])
        # The stream is as often there as any text.
        return list(map("/".join, zip(repeat(stream), *texts, strict=False)))


class _Group:
    """The payloads of one partition; `ranges` has a first and a last index in turn."""

    __slots__ = ("chunks", "ranges")

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.ranges: list[int] = []

    def add(self, indexes: Sequence[int], lines: bytes) -> None:
        """Take the next payloads."""
        ranges, first = self.ranges, indexes[0]
        last = first - 1
        if ranges and ranges[-1] == last:
            # They go on where a chunk ended.
            ranges.pop()
            first = ranges.pop()
        if indexes[-1] - indexes[0] == len(indexes) - 1:
            last = indexes[-1]
        else:
            for index in indexes:
                if index != last + 1:
                    ranges += first, last
                    first = index
                last = index
        ranges += first, last
        self.chunks.append(lines)

    def part(self, partition: str) -> Part:
        """Return all of them."""
        firsts, lasts = self.ranges[::2], self.ranges[1::2]
        count = sum(lasts) - sum(firsts) + len(firsts)
        indexes = tuple(zip(firsts, lasts, strict=True))
        return Part(partition, b"".join(self.chunks), count, indexes)


class _Groups:
    """Payloads by partition, in their order."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._groups: dict[str, _Group] = {}
        # How many payloads there are so far.
        self._count = 0

    def add(self, lines: bytes, partitions: list[str]) -> None:
        """Take the next payloads, each of a partition."""
        first, self._count = self._count, self._count + len(partitions)
        if partitions.count(partitions[0]) == len(partitions):
            self._group(partitions[0]).add(range(first, self._count), lines)
        else:
            self._add_mixed(first, lines[:-1].split(b"\n"), partitions)
        if sum([len(group.ranges) for group in self._groups.values()]) > 2 * MAX_RANGES:
            raise TooManyPayloads(
                f"payloads that change partition more than {MAX_RANGES} times never fit at once"
            )

    def parts(self, lines: bytes, count: int) -> list[Part]:
        """Return a part for each partition; `lines` and `count` are all payloads'."""
        if len(self._groups) == 1:
            return [Part(next(iter(self._groups)), lines, count)]
        return [group.part(partition) for partition, group in self._groups.items()]

    def _add_mixed(self, first: int, lines: list[bytes], partitions: list[str]) -> None:
        found: dict[str, list[int]] = {}
        for index, partition in enumerate(partitions, first):
            indexes = found.get(partition)
            if indexes is None:
                found[partition] = [index]
            else:
                indexes.append(index)
        for partition, indexes in found.items():
            mine = [lines[index - first] for index in indexes]
            mine.append(b"")
            self._group(partition).add(indexes, b"\n".join(mine))

    def _group(self, partition: str) -> _Group:
        group = self._groups.get(partition)
        if group is None:
            if len(self._groups) == self._most:
                raise TooManyPayloads(
                    f"payloads of more than {self._most} partitions never fit at once"
                )
            group = self._groups[partition] = _Group()
        return group


def _chunks(lines: bytes) -> Iterator[bytes]:
    """Cut at newlines into parts of about `PART_BYTES`."""
    start = 0
    while start < len(lines):
        end = lines.find(b"\n", start + PART_BYTES) + 1 or len(lines)
        yield lines[start:end]
        start = end
