"""The keys that a process knows of: all that any process of the machine has logged.

Not thread-safe: `Keys` has the lock. Methods block on the disk.
"""

import itertools
from collections.abc import Callable
from pathlib import Path

from workers.errors import SpoolError
from workers.keys.claim import in_order
from workers.keys.homes import Homes
from workers.keys.index import KeyIndex, NewPlaces, Place, accepted_of
from workers.keys.log import KeyLog
from workers.keys.logs import Logs
from workers.keys.records import KeyEntry
from workers.keys.shared import LISTED, Shared, life_place
from workers.spool.counters import Counters
from workers.spool.spool import Spool

KEYS = "keys"


class KnownKeys:
    """Made once a key is used, or once logs are found. `home` names this process's directory.

    `own` is the log of what this process commits, `recovered` that of what it recovers.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        home: str,
        index: KeyIndex,
        durable: bool,
        watch: Callable[[Path], Counters],
        open_shared: Callable[[Path], Shared],
    ) -> None:
        """Open what the processes share.

        Raises:
            OSError, SpoolError: it cannot be opened.
        """
        directory, disk = spool.root / KEYS, spool.disk
        self.home = home
        self.shared = open_shared(directory)
        if not self.shared.lock(life_place(home)):
            raise SpoolError("the file system of the spool has no locks left", may_pass=True)
        disk.sync_directory(spool.root)
        numbers = itertools.count(1)
        self.own, self.recovered = (
            KeyLog(directory, home, disk=disk, durable=each, numbers=numbers)
            for each in (durable, True)
        )
        self._index = index
        self._logs = Logs(directory, own=home, disk=disk)
        self.homes = Homes(spool, own=home, is_over=index.is_over, watch=watch)
        self._marks = (-1, -1)
        self.shared.mark_listed()

    def refresh(self) -> bool:
        """Read what others have appended since; whether there may be any."""
        shared = self.shared
        marks = shared.marks
        if marks == self._marks:
            return False
        if marks[LISTED] != self._marks[LISTED]:
            self.homes.look()
            self._logs.look()
        for digest, place, is_whole in self._logs.read_on():
            self._index.add(digest, place, is_whole)
        self._marks = marks
        return True

    def find(self, digest: bytes) -> tuple[KeyEntry, ...]:
        """Return the entries of a key, in the order of its payloads.

        Raises:
            OSError: an entry cannot be read now.
        """
        places = self._index.find(digest)
        if not places:
            return ()
        found = []
        for place in places:
            entry = self._read(digest, place)
            if entry is None:
                self._index.forget(digest, place)
            else:
                found.append(entry)
        return in_order(found)

    def add_log(self, log: KeyLog) -> None:
        """Take note that this process has begun a new log."""
        assert log.path is not None
        log.number = self._logs.add_own(log.path)
        self.shared.mark_listed()

    def note(self, log: KeyLog, found: NewPlaces) -> None:
        """Take note of entries that this process has appended."""
        self._index.add_all(found)
        newest = max([*found.wholes.values(), *[place for _, place in found.parts]])
        self._logs.note(log.number, accepted_of(newest))

    def tidy(self) -> None:
        """Remove the logs that no key is in any more."""
        ended = {home for home in self._logs.homes() if self._has_ended(home)}
        # What they appended last is read before they are read no more.
        self._marks = (-1, -1)
        self.refresh()
        self._index.trim()
        written = {self.own.path, self.recovered.path}
        self._logs.tidy(self._index, ended=ended, written=written)

    def close(self, *, forget: bool) -> None:
        """Close the logs; with `forget` those of this process's memory go."""
        self.own.close()
        self.recovered.close()
        if forget:
            self._logs.remove_own()
        self._logs.close()

    def _read(self, digest: bytes, place: Place) -> KeyEntry | None:
        """Return an entry; None where it is gone, or does not count any more."""
        try:
            log = self._logs.of(place)
            if not log.is_durable and self._has_ended(log.home):
                # The memory that had its payloads has gone.
                return None
            entry = self._logs.read(place)
        except (FileNotFoundError, ValueError):
            return None
        return entry if entry.record.digest == digest else None

    def _has_ended(self, home: str) -> bool:
        return home != self.home and not self.shared.is_locked(life_place(home))
