"""Idempotency keys of a machine: claims, what is accepted, and what a retry is answered.

A key is claimed before its payloads are placed, by a lock that all processes of the machine see.
Once its payloads are synced its entries go to the key log, and then the claim ends: the one who
gets it next finds them there. This process's index has them before, but a claimed key is not
looked up.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from workers.errors import KeyInUse
from workers.keys import records
from workers.keys.claim import UNDER_WAY, Claim, Replay, check_body, is_whole
from workers.keys.homes import watch_counters
from workers.keys.index import KeyIndex, NewPlaces
from workers.keys.known import KEYS, KnownKeys
from workers.keys.log import KeyLog
from workers.keys.shared import Shared, SharedFile, claim_place
from workers.segments.future import DurabilityFuture
from workers.segments.segment import Header
from workers.spool.counters import Counters, Field
from workers.spool.spool import Spool

# Looked up once, as a look-up takes longer than writing the counter.
_UNLOGGED_KEYS = Field.UNLOGGED_KEYS
NOT_RECOVERED = "what a process that has ended left is not recovered yet"
NOT_READ = "the keys of this machine are being read"


class KeyedGroup(msgspec.Struct, frozen=True, gc=False):
    """A group's keys on their way into the log: a frame of entries, and what is locked."""

    frame: bytes
    places: list[int]


class Keys:
    """The keys of this process's machine. Thread-safe.

    `claim` is quick but for a look at what other processes have appended; the rest blocks on the
    disk. Nothing is made on the disk before a key is used. `on_unrecovered` is called where a
    request has to wait for a directory to be recovered; it must be quick.
    """

    is_remote = False

    def __init__(
        self,
        spool: Spool,
        *,
        home: Callable[[], str],
        counters: Counters,
        durable: bool,
        max_keys: int,
        seconds: int,
        now: Callable[[], float] = time.time,
        open_shared: Callable[[Path], Shared] = SharedFile,
        watch: Callable[[Path], Counters] = watch_counters,
    ) -> None:
        self._spool = spool
        self._home = home
        self._counters = counters
        self._durable = durable
        self.on_unrecovered: Callable[[], None] = lambda: None
        self._now = now
        self._open_shared = open_shared
        self._watch = watch
        self._index = KeyIndex(max_keys=max_keys, seconds=seconds, now=now)
        self._known: KnownKeys | None = None
        self._claims: set[int] = set()
        # Of the group that is under way.
        self._noted = NewPlaces()
        self._is_read = False
        self._lock = threading.Lock()

    def read(self) -> None:
        """Read the logs that are there: before it no key is taken. Blocks on the disk.

        Raises:
            OSError, SpoolError: it has to be tried again.
        """
        with self._lock:
            if not self._is_read and KEYS in self._spool.disk.names(self._spool.root):
                self._open().refresh()
                self._index.put_in_order()
                self._trim()
            self._is_read = True

    def claim(self, digest: bytes, body: bytes, *, compare: bool = True) -> Claim | Replay:
        """Claim a key for a request with this SHA-256 of its body; or find where it is already.

        Raises:
            KeyReused: the body is another one, and they are to be compared.
            KeyInUse: another request has the key now, or it is not known yet whether one had.
            OSError, SpoolError: the spool cannot be used.
        """
        if not self._is_read:
            # Without the lock, which is held while they are read.
            self._refuse(NOT_READ)
        place = claim_place(digest)
        with self._lock:
            known = self._known or self._open()
            if place in self._claims:
                raise KeyInUse(UNDER_WAY)
            entries = known.find(digest) if digest in self._index.places else ()
            if not entries or not is_whole(entries):
                if not known.shared.lock(place):
                    raise KeyInUse(UNDER_WAY)
                self._claims.add(place)
                try:
                    # The one who had it before may have accepted it, here or in another process.
                    if known.refresh():
                        self._trim()
                        entries = known.find(digest)
                    if entries:
                        check_body(entries, body if compare else None)
                    if not entries or not is_whole(entries):
                        if known.homes.unsettled(known.shared):
                            self._refuse(NOT_RECOVERED)
                        accepted = int(self._now())
                        return Claim(digest, body, accepted, place, self._release, entries)
                except BaseException:
                    self._unlock(place)
                    raise
                self._unlock(place)
        check_body(entries, body if compare else None)
        self._counters.add(Field.KEYS_REPLAYED)
        return Replay(entries)

    def begin(self, group: Sequence[DurabilityFuture]) -> KeyedGroup | None:
        """Make all ready for a group's keys, and sure of their room, before any of it is written.

        None where none of the group has a key. What can be done before the sync is done here: after
        it clients wait, and the processor has other things in its caches. Its keys are not found
        yet, as they are claimed. `commit` or `abandon` follows.

        Raises:
            OSError: there is no room.
        """
        entries: list[bytes] = []
        places: list[int] = []
        for future in group:
            claim = future.claim
            if claim is not None:
                entries += claim.pack(future.runs)
                places.append(claim.place)
        if not entries:
            return None
        known = self._opened()
        frame, found = self._prepare(known, known.own, entries)
        with self._lock:
            known.note(known.own, found)
        self._noted = found
        self._counters[_UNLOGGED_KEYS] = 1
        return KeyedGroup(frame, places)

    def commit(self, group: KeyedGroup) -> None:
        """Let a group's keys be known: its payloads are as safe as they will be.

        Raises:
            OSError: they could not be written; what becomes of the keys is known after a restart.
        """
        known = self._opened()
        known.own.append(group.frame)
        known.shared.mark_appended()
        with self._lock:
            self._trim()
            self._end_claims(group.places)
        self._noted = NewPlaces()
        self._counters[_UNLOGGED_KEYS] = 0

    def abandon(self) -> None:
        """Take note that a group is refused, and nothing of it is kept; before its claims end."""
        with self._lock:
            for digest, place in self._noted:
                self._index.forget(digest, place)
        self._noted = NewPlaces()
        self._counters[_UNLOGGED_KEYS] = 0

    def sync(self) -> None:
        """Make what this process has committed survive a power cut. Blocks on the disk."""
        if self._known is not None:
            self._known.own.sync()

    def recover(self, header: Header, found: Iterable[tuple[bytes, int, int]]) -> None:
        """Log what a recovered segment file has: records, first lines and counts. Synced.

        The log of the process that has ended may have them; but perhaps not synced.

        Raises:
            OSError: they could not be written.
        """
        entries = [
            records.pack_entry(record, header, first_line=first, count=count)
            for record, first, count in found
        ]
        if not entries:
            return
        with self._lock:
            known = self._open()
        frame, noted = self._prepare(known, known.recovered, entries)
        try:
            known.recovered.append(frame)
            known.recovered.sync()
        except OSError:
            known.recovered.restart()
            raise
        known.shared.mark_appended()
        with self._lock:
            known.note(known.recovered, noted)
            self._trim()

    def tidy(self) -> None:
        """Remove the logs that no key is in any more. Blocks on the disk."""
        with self._lock:
            if self._known is not None:
                self._known.tidy()

    def close(self) -> None:
        """Close this process's log; in memory mode its keys end here. Blocks on the disk."""
        with self._lock:
            if self._known is not None:
                self._known.close(forget=not self._durable)

    def _open(self) -> KnownKeys:
        if self._known is None:
            self._known = KnownKeys(
                self._spool,
                home=self._home(),
                index=self._index,
                durable=self._durable,
                watch=self._watch,
                open_shared=self._open_shared,
            )
        return self._known

    def _opened(self) -> KnownKeys:
        assert self._known is not None, "a claim has opened it"
        return self._known

    def _prepare(
        self, known: KnownKeys, log: KeyLog, entries: Sequence[bytes]
    ) -> tuple[bytes, NewPlaces]:
        """Return the frame of some entries for a log, and what is to be noted of them."""
        frame = log.prepare(b"".join(entries))
        if not log.number:
            with self._lock:
                known.add_log(log)
        return frame, log.find(entries)

    def _trim(self) -> None:
        """Drop the oldest of too many keys; those whose time is over go with a `tidy`."""
        if self._index.is_too_large:
            self._counters.add(Field.KEYS_DROPPED_EARLY, self._index.trim())

    def _refuse(self, reason: str) -> NoReturn:
        """Refuse a key until a directory is recovered, or the logs are read."""
        self.on_unrecovered()
        raise KeyInUse(reason)

    def _release(self, claim: Claim) -> None:
        with self._lock:
            self._unlock(claim.place)

    def _end_claims(self, places: Sequence[int]) -> None:
        self._claims.difference_update(places)
        shared = self._opened().shared
        if self._claims:
            for place in places:
                shared.unlock(place)
        else:
            shared.unlock_claims()

    def _unlock(self, place: int) -> None:
        self._claims.discard(place)
        self._opened().shared.unlock(place)
