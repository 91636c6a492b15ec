"""A claim on a key by one request, from before its payloads are placed until it is settled."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from workers.errors import KeyReused, NotConfirmed, Refusal
from workers.keys import records
from workers.keys.records import KeyEntry, KeyRecord, pack_whole
from workers.segments.future import DurabilityFuture, Run
from workers.segments.partitions import Indexes
from workers.segments.segment import MemoryBody, Segment

UNDER_WAY = "a request with this Idempotency-Key is under way"


class Replay(msgspec.Struct, frozen=True, gc=False):
    """A request that is accepted already: where its payloads are, in their order."""

    entries: tuple[KeyEntry, ...]

    @property
    def total(self) -> int:
        """How many payloads it has."""
        return self.entries[0].record.total

    @property
    def runs(self) -> list[Run]:
        """Its runs, as they were when it was accepted; without their lines."""
        indexed = any(entry.record.indexed for entry in self.entries)
        return [_run_of(entry, indexed=indexed) for entry in self.entries]


class ReplayedFuture(DurabilityFuture):
    """The future of a request that was accepted before."""

    __slots__ = ()


class Claim(msgspec.Struct, eq=False, gc=False):
    """The right to accept a request with a key. One thread at a time has it.

    `body` is the SHA-256 of the request's body, `accepted` when it came (seconds since 1970), and
    `place` what is locked for it. `found` is where some of its payloads are already: a crash took
    the others. `packed` are the records of its runs, for their frames. `give_up` ends it.
    """

    digest: bytes
    body: bytes
    accepted: int
    place: int
    give_up: Callable[["Claim"], None]
    found: tuple[KeyEntry, ...] = ()
    packed: Sequence[bytes] = ()

    def missing(self, total: int) -> Indexes:
        """Return which of the request's payloads are in none of the entries that were found."""
        return missing(self.found, total)

    def pack(self, runs: Sequence[Run]) -> list[bytes]:
        """Make the records of the runs; return their entries for the log."""
        run = runs[0]
        if len(runs) == 1 and run.indexes is None and not self.found:
            header, first = run.segment.header, run.first_line
            entry, record = pack_whole(
                self.digest, self.body, self.accepted, run.count, header, first
            )
            self.packed = (record,)
            return [entry]
        total = sum(run.count for run in runs) + sum(entry.count for entry in self.found)
        self.packed = [
            records.pack_record(
                KeyRecord(
                    self.digest, self.body, self.accepted, total, indexes, run.indexes is not None
                )
            )
            for run, indexes in zip(runs, _ranges(runs), strict=True)
        ]
        return [
            records.pack_entry(
                record, run.segment.header, first_line=run.first_line, count=run.count
            )
            for run, record in zip(runs, self.packed, strict=True)
        ]

    def all_runs(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Return the request's runs in the order of its payloads, those found before too."""
        if not self.found:
            return runs
        found = [_run_of(entry, indexed=True) for entry in self.found]
        return sorted([*found, *runs], key=lambda run: run.indexes or ())

    def settle(self, refusal: Refusal) -> None:
        """Give the key up: nothing was kept.

        Where that is not known, it is held until the process ends: then its directory is
        recovered, and says so.
        """
        if not isinstance(refusal, NotConfirmed):
            self.release()

    def release(self) -> None:
        """Give the key up; once."""
        self.give_up(self)


class KeyStore(Protocol):
    """The idempotency keys of a service. Thread-safe.

    `is_remote`: a claim waits for the network.
    """

    is_remote: bool

    def claim(self, digest: bytes, body: bytes, *, compare: bool = True) -> Claim | Replay:
        """Claim a key for a request with this SHA-256 of its body; or find where it is already.

        Raises:
            KeyReused: the body is another one, and they are to be compared.
            KeyInUse: another request has the key now, or it is not known yet whether one had.
            NotConfirmed: it is accepted, and not as safe as it has to be.
            OSError, SpoolError: that cannot be found out now.
        """
        ...


def check_body(entries: Sequence[KeyEntry], body: bytes | None) -> None:
    """Compare a request's body with that of the accepted one; None is like any.

    Raises:
        KeyReused: they differ.
    """
    if entries and body is not None and entries[0].record.body != body:
        raise KeyReused("this Idempotency-Key was used with another body")


def missing(entries: Iterable[KeyEntry], total: int) -> Indexes:
    """Return which of `total` payloads are in none of the entries."""
    covered = sorted(each for entry in entries for each in entry.record.covered)
    found, at = [], 0
    for first, last in (*covered, (total, total)):
        if first > at:
            found.append((at, first - 1))
        at = max(at, last + 1)
    return tuple(found)


def is_whole(entries: Sequence[KeyEntry]) -> bool:
    """Whether all payloads of a request are in its entries."""
    return bool(entries) and not missing(entries, entries[0].record.total)


def in_order(entries: Iterable[KeyEntry]) -> tuple[KeyEntry, ...]:
    """Return a request's entries in the order of their payloads, each once."""
    once = {(entry.header.name, entry.first_line): entry for entry in entries}
    return tuple(sorted(once.values(), key=lambda entry: entry.record.covered))


def _run_of(entry: KeyEntry, *, indexed: bool) -> Run:
    indexes = entry.record.covered if indexed else None
    segment = Segment(entry.header, MemoryBody())
    return Run(segment, entry.first_line, b"", entry.count, indexes)


def _ranges(runs: Sequence[Run]) -> list[Indexes]:
    found, at = [], 0
    for run in runs:
        found.append(run.indexes or ((at, at + run.count - 1),))
        at += run.count
    return found
