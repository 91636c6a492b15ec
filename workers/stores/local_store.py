"""What both local stores share: the process's own directory in the spool, its ledger, the budget.

A process can run without a directory of its own: it then refuses, and `check` tries again.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgspec

from workers.dispatch.jobs import Job, Parked
from workers.errors import NotDurable, SpoolError
from workers.keys.keys import KeyedGroup, Keys
from workers.segments.future import DurabilityFuture
from workers.segments.naming import named_from
from workers.segments.segment import Header, Segment
from workers.settings.settings import Settings
from workers.spool.counters import Counters, Field, Totals
from workers.spool.decisions import Decisions
from workers.spool.process_spool import ProcessSpool
from workers.spool.segment_file import SegmentFile
from workers.spool.spool import Spool
from workers.spool.survey import NO_HEADER
from workers.stores.found import Found, found_in_memory, found_on_disk

log = logging.getLogger(__name__)

# Looked up once, as a look-up takes longer than reading the counter.
_HELD_BYTES = Field.HELD_BYTES


class LocalStore(ABC):
    """One process's directory in the spool."""

    durable: bool
    doubt: str | None = None
    is_shared = False
    segment_bytes: int | None = None

    def __init__(self, spool: Spool, *, max_bytes: int) -> None:
        self.spool = spool
        self.max_bytes = max_bytes
        self.refusal: str | None = None
        self.counters = Counters.anonymous()
        self._directory: ProcessSpool | None = None
        # None: no request has a key.
        self.keys: Keys | None = None
        # Bytes that other processes hold of the budget.
        self._held_elsewhere = 0
        self.open()

    @property
    def directory(self) -> ProcessSpool:
        """The process's own directory.

        Raises:
            SpoolError: it could not be made yet.
        """
        if self._directory is None:
            raise SpoolError(str(self.refusal))
        return self._directory

    @property
    def own(self) -> ProcessSpool | None:
        """The process's own directory, None where it could not be made yet."""
        return self._directory

    def open(self) -> bool:
        """Make the process's directory unless there is one. Blocks; False where that fails."""
        if self._directory is not None:
            return True
        try:
            self.spool.prepare()
            directory = self.spool.create_process_spool()
        except (OSError, SpoolError) as error:
            why = str(error)
            if self.refusal != why:
                log.critical("no directory in the spool; trying again", extra={"reason": why})
            self.refusal = why
            return False
        directory.counters[Field.DURABLE] = self.durable
        directory.counters[Field.WATERMARK_MICROSECONDS] = named_from()
        directory.counters.flush()
        directory.count_with(self.counters)
        self._directory = directory
        self.refusal = None
        return True

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes fit into the byte budget. Does not block."""
        return self.counters[_HELD_BYTES] + self._held_elsewhere + size <= self.max_bytes

    def check(self) -> None:
        """Find out again why a small collection would be refused. Blocks on the disk."""
        self.open()

    @abstractmethod
    def create(self, header: Header) -> Segment:
        """Make a segment and hold it until it is finished. Does not block."""

    @abstractmethod
    def append(self, group: Sequence[DurabilityFuture]) -> None:
        """Make a group of collections durable and count them; see `Store`."""

    @abstractmethod
    def seal(self, segment: Segment) -> None:
        """Make a segment's lines final."""

    @abstractmethod
    def drop(self, segment: Segment) -> None:
        """Remove a sealed segment without lines."""

    def job(self, segment: Segment) -> Job:
        """Make the job of a segment that nothing more comes to. Does not block."""
        return Job(segment, self.directory)

    def use_keys(self, settings: Settings) -> Keys:
        """Take requests with idempotency keys from now on; see `Keys`."""
        self.keys = Keys(
            self.spool,
            home=lambda: self.directory.path.name,
            counters=self.counters,
            durable=self.durable,
            max_keys=settings.idempotency_max_keys,
            seconds=settings.idempotency_seconds,
        )
        return self.keys

    def begin_keys(self, group: Sequence[DurabilityFuture]) -> KeyedGroup | None:
        """Make room for a group's idempotency keys before any of it is written; None without any.

        Raises:
            NotDurable: there is no room.
        """
        try:
            return None if self.keys is None else self.keys.begin(group)
        except OSError as error:
            raise NotDurable(f"the key log took no more: {error.strerror}") from error

    def commit_keys(self, keyed: KeyedGroup | None) -> None:
        """Let a group's idempotency keys be known, once its lines are safe.

        Raises:
            OSError: they could not be written.
        """
        if keyed is not None and self.keys is not None:
            self.keys.commit(keyed)

    def finish(self, job: Job, *, stored: int, dead: int) -> None:
        """Count what became of a job's lines and remove them. Blocks on the disk.

        Raises:
            OSError: they cannot be removed; nothing is counted.
        """
        if stored:
            self.spool.drop_dead(job.segment.name)
        _directory_of(job).finish(job.segment, stored=stored, dead=dead)

    def keep_dead(self, job: Job, reason: str) -> None:
        """Write a job's lines into a dead letter, all that can be read. Blocks on the disk."""
        segment = job.segment
        runs = segment.body.read_damaged(segment.lines, [])
        self.spool.keep_dead(segment.header, runs, reason=reason, payloads=segment.lines)
        Decisions(self.spool.root).drop_burial(segment.name)

    def quarantine(self, segment: Segment, reason: str) -> None:
        """Keep a damaged segment file as it is. Blocks on the disk."""
        assert isinstance(segment.body, SegmentFile)
        self.spool.quarantine(segment.body, reason=reason)

    def park(self, job: Job, reason: str) -> Parked:
        """Return what is kept of a job that cannot go now: of one on the disk only its name."""
        segment = job.segment
        on_disk = _directory_of(job).park(segment)
        return Parked.of(
            job,
            reason=reason,
            segment=None if on_disk else segment,
            held_bytes=segment.held_bytes,
        )

    def load(self, parked: Parked) -> Job | None:
        """Make a parked job whole again; see `Store`. Blocks on the disk, may raise `OSError`."""
        directory = _directory_of(parked)
        segment = parked.segment or directory.load(parked.name)
        segment.held_bytes = parked.held_bytes
        if isinstance(segment.body, SegmentFile) and not segment.header.key:
            self.spool.quarantine(segment.body, reason=NO_HEADER)
            directory.finish(segment, dead=segment.lines)
            return None
        if segment.header.bucket != parked.bucket:
            # An operator has sent it there since its file was written.
            segment.header = msgspec.structs.replace(segment.header, bucket=parked.bucket)
        return parked.job(segment)

    def find(self, name: str) -> Segment | None:
        """Return the segment `name` if it is here. Does not block."""
        return None if self._directory is None else self._directory.held(name)

    def look(self, name: str) -> Found | None:
        """Say what became of the segment `name`, by memory and by the disk. Blocks on it."""
        held = self.find(name)
        return found_on_disk(self.spool, name) if held is None else found_in_memory(held)

    def totals(self) -> Totals:
        """Return the sums of all processes. Blocks on the disk, briefly."""
        return self.spool.totals()

    def unfinished(self) -> list[Segment]:
        """Return the segments that this process has at hand, oldest first."""
        return [] if self._directory is None else self._directory.unfinished()

    def persist(self) -> None:
        """At a stop: see that what is not stored is on the disk. Blocks; does not raise."""
        if self._directory is not None:
            try:
                self.spool.disk.sync_directory(self._directory.path)
            except OSError:
                log.exception("the spool cannot be synced")

    def close(self) -> None:
        """Give the directory up; one that is empty is retired. Blocks on the disk."""
        if self.keys is not None:
            self.keys.close()
        if self._directory is None:
            return
        if self._directory.empty:
            self.spool.retire(self._directory)
        else:
            self._directory.close()


def count(group: Sequence[DurabilityFuture], counters: Counters) -> None:
    """Count a group's lines in their segments, and as accepted."""
    payloads = size = 0
    for future in group:
        size += future.size
        for run in future.runs:
            payloads += run.count
            run.segment.lines += run.count
            run.segment.size += len(run.lines)
    counters.accept(payloads=payloads, size=size)


def _directory_of(job: Job | Parked) -> ProcessSpool:
    assert isinstance(job.place, ProcessSpool)
    return job.place
