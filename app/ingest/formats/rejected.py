"""Payloads that are left out of a collection, with their faults: `Prefer: handling=lenient`."""

from collections.abc import Iterable, Sequence
from typing import Final

from app.http.problems import Fault

# What a response lists; where there are more the request is refused as any other.
MAX_REJECTED: Final = 10_000


class TooManyRejected(Exception):
    """A request has more faults than are listed."""


class Rejected:
    """Faults of single payloads of one request, and the payloads' indexes in it."""

    __slots__ = ("faults", "indexes")

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.indexes: set[int] = set()

    def clear(self) -> None:
        """Forget all: the body is read anew."""
        self.faults.clear()
        self.indexes.clear()

    def add(self, index: int, faults: Iterable[Fault]) -> None:
        """Leave a payload out.

        Raises:
            TooManyRejected: see there.
        """
        self.indexes.add(index)
        for fault in faults:
            if len(self.faults) == MAX_REJECTED:
                raise TooManyRejected
            self.faults.append(fault)

    def originals(self, count: int) -> Sequence[int]:
        """Return the indexes in the request of the `count` payloads that are kept so far."""
        if not self.indexes:
            return range(count)
        every = range(count + len(self.indexes))
        return [index for index in every if index not in self.indexes]
