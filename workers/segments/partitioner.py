"""Splits a collection by the fields of payloads that are in the key template. Blocks on nothing.

Without such fields there is no partitioner, and nothing is done for a payload.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Final

from workers.errors import TooManyPayloads
from workers.segments.event_time import hour_of
from workers.segments.key_template import EVENT_FIELDS, KeyTemplate, Path, path_of, pointer_path
from workers.segments.members import Members
from workers.segments.partitions import Part
from workers.segments.values import text_of
from workers.settings import Settings

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
    def of(cls, settings: Settings) -> "Partitioner | None":
        """Return a partitioner; None where the template has no field of a payload."""
        fields = KeyTemplate.parse(settings.key_template).fields
        if not fields:
            return None
        return cls(fields, event_time=settings.event_time, most=settings.max_streams)

    def split(self, stream: str, lines: bytes, *, count: int, wrapped: int) -> list[Part]:
        """Split a collection; each part has its payloads in their order.

        `wrapped` says in how many envelopes a payload is.

        Raises:
            TooManyPayloads: they are of more partitions than may be open, or in too much disorder.
        """
        fields, now = self._fields[wrapped], time.time()
        if count == 1:
            return [Part(fields.partition(stream, lines, now=now), lines, 1)]
        groups = _Groups(self._most)
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

    def partition(self, stream: str, line: bytes, *, now: float) -> str:
        """Return one line's partition; `now` is the time of arrival."""
        values = self._members.find_one(line)
        if not self._has_events:
            return "/".join([stream, *map(text_of, values)])
        texts = [
            text_of(value) if part is None else hour_of(value, now=now)[part]
            for part, value in zip(self._parts, values, strict=True)
        ]
        return "/".join([stream, *texts])

    def partitions(self, stream: str, lines: bytes, *, now: float) -> list[str]:
        """Return each line's partition."""
        texts: list[Iterable[str]] = []
        for part, values in zip(self._parts, self._members.find(lines), strict=True):
            if part is None:
                texts.append(map(text_of, values))
            else:
                texts.append([hour_of(value, now=now)[part] for value in values])
        # The stream is as often there as any text.
        return list(map("/".join, zip(repeat(stream), *texts, strict=False)))


class _Group:
    """The payloads of one partition; `ranges` has a first and a last index in turn."""

    __slots__ = ("chunks", "lines", "ranges")

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.lines: list[bytes] = []
        self.ranges: list[int] = []


class _Groups:
    """Payloads by partition, in their order."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._groups: dict[str, _Group] = {}
        # The partition of the payload before `index`.
        self._last = ""
        self._index = self._ranges = 0

    def add(self, lines: bytes, partitions: list[str]) -> None:
        """Take the next payloads, each of a partition."""
        first = partitions[0]
        if partitions.count(first) == len(partitions):
            self._group(first).chunks.append(lines)
            self._index += len(partitions)
            return
        touched: dict[str, _Group] = {}
        group = self._group(first)
        for partition, line in zip(partitions, lines[:-1].split(b"\n"), strict=True):
            if partition != self._last or not group.lines:
                group = touched[partition] = self._group(partition)
            group.lines.append(line)
            self._index += 1
        for group in touched.values():
            group.chunks.append(b"\n".join([*group.lines, b""]))
            group.lines = []

    def parts(self, lines: bytes, count: int) -> list[Part]:
        """Return a part for each partition; `lines` and `count` are all payloads'."""
        self._groups[self._last].ranges.append(self._index - 1)
        if len(self._groups) == 1:
            return [Part(self._last, lines, count)]
        return [_part(partition, group) for partition, group in self._groups.items()]

    def _group(self, partition: str) -> _Group:
        """Return the group of the next payload."""
        group = self._groups.get(partition)
        if partition == self._last and group is not None:
            return group
        if group is None:
            if len(self._groups) == self._most:
                raise TooManyPayloads(
                    f"payloads of more than {self._most} partitions never fit at once"
                )
            group = self._groups[partition] = _Group()
        self._ranges += 1
        if self._ranges > MAX_RANGES:
            raise TooManyPayloads(
                f"payloads that change partition more than {MAX_RANGES} times never fit at once"
            )
        if self._last:
            self._groups[self._last].ranges.append(self._index - 1)
        group.ranges.append(self._index)
        self._last = partition
        return group


def _part(partition: str, group: _Group) -> Part:
    indexes = tuple(zip(group.ranges[::2], group.ranges[1::2], strict=True))
    count = sum(last - first + 1 for first, last in indexes)
    return Part(partition, b"".join(group.chunks), count, indexes)


def _chunks(lines: bytes) -> Iterator[bytes]:
    """Cut at newlines into parts of about `PART_BYTES`."""
    start = 0
    while start < len(lines):
        end = lines.find(b"\n", start + PART_BYTES) + 1 or len(lines)
        yield lines[start:end]
        start = end
