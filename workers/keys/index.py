"""Which keys are accepted, and where in the key logs that is written. No disk, no lock."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TypeAlias

import msgspec

# An entry of a log in one integer: when it was accepted (seconds), the log's number, its offset.
# A tuple of them where a request went to several segments.
Place: TypeAlias = int
# An entry's digest and place, and whether it is of all payloads of its request.
Found: TypeAlias = tuple[bytes, Place, bool]
_OFFSET_BITS, _LOG_BITS = 32, 24
ACCEPTED_BITS = _OFFSET_BITS + _LOG_BITS


def pack_place(*, accepted: int = 0, log: int = 0, offset: int = 0) -> Place:
    """Return the place of an entry; the places of its parts add up to it."""
    return (accepted << _LOG_BITS | log) << _OFFSET_BITS | offset


def accepted_of(place: Place) -> int:
    """Return when an entry was accepted, in seconds since 1970."""
    return place >> ACCEPTED_BITS


def log_of(place: Place) -> int:
    """Return the number of an entry's log."""
    return place >> _OFFSET_BITS & ((1 << _LOG_BITS) - 1)


def offset_of(place: Place) -> int:
    """Return the offset of an entry."""
    return place & ((1 << _OFFSET_BITS) - 1)


class NewPlaces(msgspec.Struct, frozen=True, gc=False):
    """Where a group's entries are: those of all payloads of their requests, and of some of them."""

    wholes: dict[bytes, Place] = {}
    parts: Sequence[tuple[bytes, Place]] = ()

    def __iter__(self) -> Iterator[tuple[bytes, Place]]:
        """Yield each digest with its place."""
        return chain(self.wholes.items(), self.parts)


class KeyIndex:
    """The keys of the last `seconds`, and the last `max_keys` of them. For one thread at a time.

    About 160 bytes a key.
    """

    def __init__(self, *, max_keys: int, seconds: int, now: Callable[[], float]) -> None:
        self._max_keys = max_keys
        self._seconds = seconds
        self._now = now
        # Those whose time is over are among them until they are dropped.
        self.places: dict[bytes, Place | tuple[Place, ...]] = {}
        # The same keys, in the order in which they came.
        self._order: deque[bytes] = deque()

    def add(self, digest: bytes, place: Place, is_whole: bool) -> None:  # noqa: FBT001
        """Note where an entry is; one that is not whole is added to those of its request."""
        known = self.places.get(digest)
        if known is None:
            if len(self.places) >= self._max_keys and accepted_of(place) < self.oldest:
                # It has given way already, and is found again in a recovered file.
                return
            self._order.append(digest)
        if is_whole:
            self.places[digest] = place
        elif known is None or self.is_over(accepted_of(_first(known))):
            self.places[digest] = (place,)
        elif place not in (parts := _as_tuple(known)):
            self.places[digest] = (*parts, place)

    def add_all(self, found: NewPlaces) -> None:
        """Note where entries are; nearly all are the first of a key, and whole."""
        places, wholes = self.places, found.wholes
        if len(places) + len(wholes) <= self._max_keys and places.keys().isdisjoint(wholes):
            self._order.extend(wholes)
            places.update(wholes)
        else:
            for digest, place in wholes.items():
                self.add(digest, place, True)  # noqa: FBT003
        for digest, place in found.parts:
            self.add(digest, place, False)  # noqa: FBT003

    def find(self, digest: bytes) -> tuple[Place, ...]:
        """Return the places of a key; none where it is not known, or its time is over."""
        found = self.places.get(digest)
        if found is None or self.is_over(accepted_of(_first(found))):
            return ()
        return _as_tuple(found)

    def forget(self, digest: bytes, place: Place) -> None:
        """Drop an entry that cannot be read, or does not count any more."""
        if digest not in self.places:
            return
        parts = tuple(each for each in _as_tuple(self.places[digest]) if each != place)
        # Its turn to go comes all the same: without a place it is found no more.
        self.places[digest] = parts or 0

    def trim(self) -> int:
        """Drop keys whose time is over, and the oldest of too many: return how many of these."""
        early = 0
        while self._order:
            if not self.is_over(self.oldest):
                if len(self.places) <= self._max_keys:
                    break
                early += 1
            del self.places[self._order.popleft()]
        return early

    def put_in_order(self) -> None:
        """Order the keys by their acceptance, after logs were read one after the other."""
        places = self.places
        self._order = deque(sorted(places, key=lambda digest: _first(places[digest])))

    def is_over(self, accepted: float) -> bool:
        """Whether a key's time is over. A clock that was set back makes nothing old."""
        return self._now() - accepted >= self._seconds

    @property
    def is_too_large(self) -> bool:
        """Whether some have to go before their time is over."""
        return len(self.places) > self._max_keys

    @property
    def oldest(self) -> int:
        """When the oldest key was accepted, in seconds since 1970; 0 where there is none."""
        return accepted_of(_first(self.places[self._order[0]])) if self._order else 0


def _first(found: Place | tuple[Place, ...]) -> Place:
    return found if isinstance(found, int) else found[0]


def _as_tuple(found: Place | tuple[Place, ...]) -> tuple[Place, ...]:
    return (found,) if isinstance(found, int) else found
