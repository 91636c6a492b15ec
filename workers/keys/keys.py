"""Idempotency keys of a machine: claims, what is accepted, and what a retry is answered.

A key is claimed before its payloads are placed, by a lock that all processes of the machine see.
Once its payloads are synced its entries go to the key log, and then the claim ends: the one who
gets it next finds them there.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from workers.errors import KeyInUse, KeyReused
from workers.keys import records
from workers.keys.claim import Claim, Replay, is_whole
from workers.keys.homes import watch_counters
from workers.keys.index import KeyIndex
from workers.keys.known import KEYS, KnownKeys
from workers.keys.log import KeyLog
from workers.keys.records import KeyEntry
from workers.keys.shared import Shared, SharedFile, claim_place
from workers.segments.future import DurabilityFuture
from workers.segments.segment import Header
from workers.spool.counters import Counters, Field
from workers.spool.spool import Spool

UNDER_WAY = "a request with this Idempotency-Key is under way"
NOT_RECOVERED = "what a process that has ended left is not recovered yet"
NOT_READ = "the keys of this machine are being read"


class Keys:
    """The keys of this process's machine. Thread-safe.

    `claim` is quick but for a look at what other processes have appended; the rest blocks on the
    disk. Nothing is made on the disk before a key is used. `on_unrecovered` is called where a
    request has to wait for a directory to be recovered; it must be quick.
    """

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
        place, compared = claim_place(digest), body if compare else None
        if not self._is_read:
            # Without the lock, which is held while they are read.
            self.on_unrecovered()
            raise KeyInUse(NOT_READ)
        with self._lock:
            known = self._known or self._open()
            entries = known.find(digest)
            if not is_whole(entries):
                self._lock_place(known, place)
                try:
                    # The one who had it before may have accepted it, here or in another process.
                    if known.refresh():
                        self._trim()
                        entries = known.find(digest)
                    _check_body(entries, compared)
                    if not is_whole(entries):
                        self._check_recovered(known)
                        accepted = int(self._now())
                        return Claim(digest, body, accepted, entries, release=self._release)
                except BaseException:
                    self._unlock(place)
                    raise
                self._unlock(place)
        _check_body(entries, compared)
        self._counters.add(Field.KEYS_REPLAYED)
        return Replay(entries)

    def begin(self, group: Sequence[DurabilityFuture]) -> bytes:
        """Make sure of room for a group's entries before any of it is written; return them.

        Raises:
            OSError: there is none.
        """
        entries = b"".join([each.claim.pack(each.runs) for each in group if each.claim is not None])
        known = self._opened()
        self._reserve(known, known.own, len(entries))
        self._counters[Field.UNLOGGED_KEYS] = 1
        return entries

    def commit(self, group: Sequence[DurabilityFuture], entries: bytes) -> None:
        """Let a group's keys be known: its payloads are as safe as they will be.

        Raises:
            OSError: they could not be written; what becomes of the keys is known after a restart.
        """
        known = self._opened()
        start = known.own.append(entries)
        known.shared.mark_appended()
        with self._lock:
            known.note(known.own, entries, start)
            self._trim()
            unlock = known.shared.unlock
            for future in group:
                if future.claim is not None:
                    self._claims.discard(future.claim.place)
                    unlock(future.claim.place)
        self._counters[Field.UNLOGGED_KEYS] = 0

    def abandon(self) -> None:
        """Take note that a group is refused, and nothing of it is kept."""
        self._counters[Field.UNLOGGED_KEYS] = 0

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
        entries = b"".join(
            records.pack_entry(record, header, first_line=first, count=count)
            for record, first, count in found
        )
        if not entries:
            return
        with self._lock:
            known = self._open()
        self._reserve(known, known.recovered, len(entries))
        start = known.recovered.append(entries)
        known.recovered.sync()
        known.shared.mark_appended()
        with self._lock:
            known.note(known.recovered, entries, start)
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

    def _reserve(self, known: KnownKeys, log: KeyLog, size: int) -> None:
        log.reserve(size)
        if not log.number:
            with self._lock:
                known.add_log(log)

    def _trim(self) -> None:
        early = self._index.trim()
        if early:
            self._counters.add(Field.KEYS_DROPPED_EARLY, early)

    def _check_recovered(self, known: KnownKeys) -> None:
        if not known.is_recovered():
            self.on_unrecovered()
            raise KeyInUse(NOT_RECOVERED)

    def _lock_place(self, known: KnownKeys, place: int) -> None:
        if place in self._claims or not known.shared.lock(place):
            raise KeyInUse(UNDER_WAY)
        self._claims.add(place)

    def _release(self, claim: Claim) -> None:
        with self._lock:
            self._unlock(claim.place)

    def _unlock(self, place: int) -> None:
        self._claims.discard(place)
        self._opened().shared.unlock(place)


def _check_body(entries: Sequence[KeyEntry], body: bytes | None) -> None:
    if entries and body is not None and entries[0].record.body != body:
        raise KeyReused("this Idempotency-Key was used with another body")
