"""A listing that is taken again only when it has changed, as a console asks every two seconds."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

# What changes all the time is listed for a tenth of the time at most.
REST_FACTOR = 10


@dataclass(frozen=True, slots=True)
class _Taken(Generic[T]):
    found: T
    stamp: object
    at: float
    seconds: float


class Listing(Generic[T]):
    """What `take` returned last. Safe to share between threads: several may take it at a time.

    `stamp` is cheap, and returns something that differs once the listing does; None where it may
    have changed without it. After `max_age` seconds the listing is taken in any case.
    """

    def __init__(
        self,
        take: Callable[[], T],
        *,
        stamp: Callable[[], object],
        max_age: float = float("inf"),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._take = take
        self._stamp = stamp
        self._max_age = max_age
        self._now = now
        self._last: _Taken[T] | None = None

    def get(self) -> T:
        """Return the listing; one of some seconds ago where it takes long. Blocks as `take` does.

        Raises what `take` and `stamp` raise.
        """
        stamp, started, last = self._stamp(), self._now(), self._last
        if last is not None:
            age = started - last.at
            is_same = stamp is not None and stamp == last.stamp
            if age < last.seconds * REST_FACTOR or (is_same and age < self._max_age):
                return last.found
        found = self._take()
        ended = self._now()
        self._last = _Taken(found, stamp, ended, ended - started)
        return found
