"""A claim on a key by one request, from before its payloads are placed until it is settled."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from workers.errors import NotConfirmed, Refusal
from workers.keys import records
from workers.keys.records import KeyEntry, KeyRecord
from workers.keys.shared import claim_place
from workers.segments.future import DurabilityFuture, Run
from workers.segments.partitions import Indexes
from workers.segments.segment import MemoryBody, Segment


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


class Claim:
    """The right to accept a request with a key. One thread at a time has it.

    `found` is where some of its payloads are already: a crash took the others. `packed` are the
    records of its runs, for their frames.
    """

    __slots__ = ("_accepted", "_body", "_release", "digest", "found", "packed", "place")

    def __init__(
        self,
        digest: bytes,
        body: bytes,
        accepted: int,
        found: tuple[KeyEntry, ...],
        *,
        release: Callable[["Claim"], None],
    ) -> None:
        self.digest = digest
        # What is locked for it.
        self.place = claim_place(digest)
        self.found = found
        self.packed: list[bytes] = []
        self._body = body
        self._accepted = accepted
        self._release = release

    def missing(self, total: int) -> Indexes:
        """Return which of the request's payloads are in none of the entries that were found."""
        return missing(self.found, total)

    def pack(self, runs: Sequence[Run]) -> bytes:
        """Make the records of the runs; return their entries for the log."""
        if len(runs) == 1 and runs[0].indexes is None and not self.found:
            run = runs[0]
            record = records.pack_whole(self.digest, self._body, self._accepted, run.count)
            self.packed = [record]
            header = run.segment.header
            return records.pack_entry(record, header, first_line=run.first_line, count=run.count)
        total = sum(run.count for run in runs) + sum(entry.count for entry in self.found)
        entries = []
        self.packed = []
        for run, indexes in zip(runs, _ranges(runs), strict=True):
            record = records.pack_record(
                KeyRecord(
                    self.digest, self._body, self._accepted, total, indexes, run.indexes is not None
                )
            )
            self.packed.append(record)
            header = run.segment.header
            entries.append(
                records.pack_entry(record, header, first_line=run.first_line, count=run.count)
            )
        return b"".join(entries)

    def all_runs(self, runs: Sequence[Run]) -> list[Run]:
        """Return the request's runs in the order of its payloads, those found before too."""
        if not self.found:
            return list(runs)
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
        self._release(self)


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
