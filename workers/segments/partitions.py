"""A collection by partitions: which of its payloads go to which open segment. Only data.

A partition is what has an open segment of its own: a stream, or with fields of the payload in
`KEY_TEMPLATE` a stream and the values of those fields.
"""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

# Payloads of a collection, counted from 0: ranges of a first and a last one, in order.
Indexes: TypeAlias = tuple[tuple[int, int], ...]


class Part(msgspec.Struct, frozen=True, gc=False):
    """The payloads of a collection that go to one partition, `count` lines.

    `partition` is the stream's name, then the values of the template's fields, each after a slash;
    neither holds one. `indexes` says which payloads of the collection these are; None for all of
    them.
    """

    partition: str
    lines: bytes
    count: int
    indexes: Indexes | None = None

    @property
    def stream(self) -> str:
        """The stream's name."""
        return stream_of(self.partition)


def stream_of(partition: str) -> str:
    """Return the stream of a partition."""
    return partition.partition("/")[0]


def as_ranges(indexes: Sequence[int]) -> list[tuple[int, int]]:
    """Return rising indexes, at least one, as ranges."""
    first = last = indexes[0]
    if indexes[-1] - first == len(indexes) - 1:
        return [(first, indexes[-1])]
    ranges: list[tuple[int, int]] = []
    for index in indexes:
        if index > last + 1:
            ranges.append((first, last))
            first = index
        last = index
    ranges.append((first, last))
    return ranges


def values_of(partition: str) -> str:
    """Return the values of the template's fields in a partition, "" where there are none."""
    return partition.partition("/")[2]


def take_indexes(indexes: Indexes | None, count: int) -> tuple[Indexes | None, Indexes | None]:
    """Split indexes into those of the first `count` payloads, and the rest."""
    if indexes is None:
        return None, None
    left = count
    for number, (first, last) in enumerate(indexes):
        size = last - first + 1
        if left < size:
            taken = ((first, first + left - 1),) if left else ()
            return (*indexes[:number], *taken), ((first + left, last), *indexes[number + 1 :])
        left -= size
    return indexes, ()
