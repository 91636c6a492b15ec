"""A claim on a key by one request, from before its payloads are placed until it is settled."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from workers.errors import NotConfirmed, Refusal
from workers.keys import records
from workers.keys.records import KeyEntry, KeyRecord
from workers.segments.future import Run
from workers.segments.partitions import Indexes


class Replay(msgspec.Struct, frozen=True, gc=False):
    """A request that is accepted already: where its payloads are, in their order."""

    entries: tuple[KeyEntry, ...]

    @property
    def total(self) -> int:
        """How many payloads it has."""
        return self.entries[0].record.total


class Claim:
    """The right to accept a request with a key. One thread at a time has it.

    `found` is where some of its payloads are already: a crash took the others. `packed` are the
    records of its runs, for their frames.
    """

    __slots__ = ("_accepted", "_body", "_release", "digest", "found", "packed")

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
        if len(runs) == 1 and runs[0].indexes is None:
            ranges: list[Indexes] = [()]
        else:
            ranges = _ranges(runs)
        total = sum(run.count for run in runs) + sum(entry.count for entry in self.found)
        entries = []
        self.packed = []
        for run, indexes in zip(runs, ranges, strict=True):
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


def _ranges(runs: Sequence[Run]) -> list[Indexes]:
    found, at = [], 0
    for run in runs:
        found.append(run.indexes or ((at, at + run.count - 1),))
        at += run.count
    return found
