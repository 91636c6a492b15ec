"""Splits a collection by the fields of payloads that are in the key template. Blocks on nothing.

Without such fields there is no partitioner, and nothing is done for a payload.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from workers.errors import TooManyPayloads
from workers.segments.event_time import hour_of, hours_of
from workers.segments.key_template import EVENT_FIELDS, KeyTemplate, Path, path_of, pointer_path
from workers.segments.members import Members
from workers.segments.partitions import Part, as_ranges
from workers.segments.values import text_of, texts_of

# A body is looked at in parts: its members in memory take several times its size.
PART_BYTES: Final = 256 << 10
# How many ranges the indexes of a collection may have: each takes 17 bytes of the response.
MAX_RANGES: Final = 1 << 17
# What a payload's fields are in a key; of a single field its text alone.
Texts: TypeAlias = str | tuple[str, ...]
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
        # The partition of a stream's single payload that arrives now, in no envelope.
        self.partition = self._fields[0].partition

    @classmethod
    def of(cls, template: str, *, event_time: str | None, most: int) -> "Partitioner | None":
        """Return a partitioner; None where the template has no field of a payload."""
        fields = KeyTemplate.parse(template).fields
        return cls(fields, event_time=event_time, most=most) if fields else None

    def split(self, stream: str, lines: bytes, *, count: int, wrapped: int = 0) -> list[Part]:
        """Split a collection; each part has its payloads in their order.

        `wrapped` says in how many envelopes a payload is.

        Raises:
            TooManyPayloads: they are of more partitions than may be open, or in too much disorder.
        """
        if count == 1:
            return [Part(self._fields[wrapped].partition(stream, lines), lines, 1)]
        fields, now = self._fields[wrapped], time.time()
        groups = _Groups(self._most)
        for chunk in [lines] if len(lines) <= PART_BYTES else _chunks(lines):
            groups.add(chunk, fields.texts(chunk, now=now))
        if len(groups.by_texts) == 1:
            [texts] = groups.by_texts
            return [Part(fields.name(stream, texts), lines, count)]
        return [group.part(fields.name(stream, texts)) for texts, group in groups.by_texts.items()]


class _Fields:
    """The fields of a template, and where in a line each has its value."""

    def __init__(self, fields: Sequence[str], paths: Sequence[Path]) -> None:
        # Which part of an event's hour a field is; None: a member's text.
        self._parts = [
            EVENT_FIELDS.index(field) if field in EVENT_FIELDS else None for field in fields
        ]
        self._has_events = any(part is not None for part in self._parts)
        self._members = Members(paths)
        self._is_single = len(fields) == 1
        # The partition of a line that arrives now: in a short way where there is one field.
        self.partition = self._single() if self._is_single else self._partition

    def texts(self, lines: bytes, *, now: float) -> Sequence[Texts]:
        """Return the texts of each line's fields."""
        columns: list[list[str]] = []
        for part, values in zip(self._parts, self._members.find(lines), strict=True):
            if part is None:
                columns.append(texts_of(values))
            else:
                columns.append([hour[part] for hour in hours_of(values, now=now)])
        return columns[0] if self._is_single else list(zip(*columns, strict=True))

    def name(self, stream: str, texts: Texts) -> str:
        """Return the partition of a stream's payloads that have these texts."""
        return f"{stream}/{texts}" if isinstance(texts, str) else "/".join((stream, *texts))

    def _single(self) -> Callable[[str, bytes], str]:
        find, part, now = self._members.finder(), self._parts[0], time.time
        if part is None:
            return lambda stream, line: f"{stream}/{text_of(find(line))}"
        return lambda stream, line: f"{stream}/{hour_of(find(line), now=now())[part]}"

    def _partition(self, stream: str, line: bytes) -> str:
        values = self._members.find_one(line)
        if not self._has_events:
            return "/".join([stream, *map(text_of, values)])
        texts, now = [stream], time.time()
        for part, value in zip(self._parts, values, strict=True):
            texts.append(text_of(value) if part is None else hour_of(value, now=now)[part])
        return "/".join(texts)


class _Group:
    """The payloads of one partition: their lines, and which of the collection they are."""

    __slots__ = ("chunks", "count", "ranges")

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.count = 0
        self.ranges: list[tuple[int, int]] = []

    def part(self, partition: str) -> Part:
        """Return all of them."""
        return Part(partition, b"".join(self.chunks), self.count, tuple(self.ranges))


class _Groups:
    """Payloads by the texts of their fields, in their order."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.by_texts: dict[Texts, _Group] = {}
        # How many payloads, and ranges of them, there are so far.
        self._count = self._ranges = 0

    def add(self, lines: bytes, texts: Sequence[Texts]) -> None:
        """Take the next payloads, each with its texts."""
        start, self._count = self._count, self._count + len(texts)
        # Most often they are the same object, out of a cache.
        if texts.count(texts[0]) == len(texts):
            self._add(texts[0], [(start, self._count - 1)], len(texts), lines)
        else:
            self._add_mixed(start, lines, texts)
        if self._ranges > MAX_RANGES:
            raise TooManyPayloads(
                f"payloads that change partition more than {MAX_RANGES} times never fit at once"
            )

    def _add_mixed(self, start: int, lines: bytes, texts: Sequence[Texts]) -> None:
        split, found = lines.split(b"\n"), defaultdict[Texts, list[int]](list)
        for place, each in enumerate(texts):
            found[each].append(place)
        for each, places in found.items():
            mine = [split[place] for place in places]
            mine.append(b"")
            ranges = as_ranges([start + place for place in places] if start else places)
            self._add(each, ranges, len(places), b"\n".join(mine))

    def _add(self, texts: Texts, ranges: list[tuple[int, int]], count: int, lines: bytes) -> None:
        group = self.by_texts.get(texts)
        if group is None:
            if len(self.by_texts) == self._most:
                raise TooManyPayloads(
                    f"payloads of more than {self._most} partitions never fit at once"
                )
            group = self.by_texts[texts] = _Group()
        elif group.ranges[-1][1] == ranges[0][0] - 1:
            # They go on where a chunk ended.
            ranges[0] = group.ranges.pop()[0], ranges[0][1]
            self._ranges -= 1
        group.ranges += ranges
        group.chunks.append(lines)
        group.count += count
        self._ranges += len(ranges)


def _chunks(lines: bytes) -> Iterator[bytes]:
    """Cut at newlines into parts of about `PART_BYTES`."""
    start = 0
    while start < len(lines):
        end = lines.find(b"\n", start + PART_BYTES) + 1 or len(lines)
        yield lines[start:end]
        start = end
