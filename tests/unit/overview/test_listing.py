"""Listings that are looked at all the time: taken anew when they change, and not much more."""

import os
import time
from pathlib import Path

import pytest

from workers.overview.kept import MAX_SHOWN, KeptFiles
from workers.overview.listing import REST_FACTOR, Listing


class Clock:
    """A clock that is set, and a listing that takes some of its seconds."""

    def __init__(self, *, takes: float) -> None:
        self.now = 100.0
        self.stamp: object = 1
        self.taken = 0
        self._takes = takes

    def take(self) -> int:
        """List, and return for which time that is."""
        self.now += self._takes
        self.taken += 1
        return self.taken

    def listing(self, *, max_age: float = float("inf")) -> Listing[int]:
        """Make a listing by this clock."""
        return Listing(self.take, stamp=lambda: self.stamp, max_age=max_age, now=lambda: self.now)


def test_it_is_taken_again_when_it_has_changed() -> None:
    """The same stamp is the same listing, up to its greatest age; None is never the same."""
    clock = Clock(takes=0.0)
    listing = clock.listing(max_age=30)
    assert [listing.get(), listing.get()] == [1, 1]
    clock.stamp = 2
    assert [listing.get(), listing.get()] == [2, 2]
    clock.now += 31
    assert listing.get() == 3
    clock.stamp = None
    assert [listing.get(), listing.get()] == [4, 5]


def test_one_that_takes_long_rests() -> None:
    """However much changes, at most a tenth of the time goes into listing."""
    clock = Clock(takes=0.3)
    clock.stamp = None
    listing = clock.listing()
    for _ in range(100):
        listing.get()
        clock.now += 0.1
    assert clock.taken == pytest.approx(10 / (0.3 * REST_FACTOR), abs=1)


def test_letters_that_rest_are_not_read_again(tmp_path: Path) -> None:
    """Of many that do not change a look reads no name; one more is seen at once."""
    for number in range(MAX_SHOWN + 10):
        (tmp_path / f"segment-{number:04}.json").write_text('{"reason": "r"}')
        (tmp_path / f"segment-{number:04}.ndjson").write_text("{}\n")
    letters = KeptFiles(tmp_path, ".ndjson")
    an_hour_ago = time.time() - 3600
    os.utime(tmp_path, (an_hour_ago, an_hour_ago))
    found = letters.look()
    assert (found.count, len(found.newest)) == (MAX_SHOWN + 10, MAX_SHOWN)
    assert (found.newest[0].name, found.newest[0].size) == (f"segment-{MAX_SHOWN + 9:04}", 3)
    assert letters.look() is found
    (tmp_path / "segment-9999.json").write_text('{"reason": "r"}')
    while (shown := letters.look()) is found:
        """The listing rests for some milliseconds."""
    assert (shown.count, shown.newest[0].name) == (MAX_SHOWN + 11, "segment-9999")
