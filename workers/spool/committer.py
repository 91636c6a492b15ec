"""Where accepted lines are made safe: in memory, or on disk by one committer for the whole process.

Both take whole collections and answer with a ticket; the front door waits on it before it says 202.
"""

import logging
import queue
from collections.abc import Callable
from typing import Protocol

from workers.errors import NotConfirmed, NotDurable
from workers.segments.future import DurabilityFuture, Run
from workers.segments.segment import MemoryBody, Segment
from workers.spool.counters import Counters, Field
from workers.spool.segment_file import SegmentFile

log = logging.getLogger(__name__)

# One group holds at most this many collections, so that a flood cannot starve the first in line.
MAX_GROUP = 512
# A sync of the file system costs as much as one of two files; but it waits for others' files too.
FEW_FILES = 4


class Journal(Protocol):
    """What the intake needs of a journal. Calls come under the intake's lock and do not block."""

    broken: str | None

    @property
    def waiting_bytes(self) -> int:
        """Bytes of lines that are in memory until they are safe elsewhere."""
        ...

    def append(self, runs: list[Run]) -> DurabilityFuture:
        """Take one collection; its ticket is settled once it is as safe as it will be."""
        ...

    def seal(self, segment: Segment) -> None:
        """Take note that nothing more comes for a segment; it is `frozen` soon after."""
        ...

    def stop(self) -> None:
        """Take note that nothing more comes at all."""
        ...


class MemoryCommitter:
    """Keeps lines in memory: safe until the process dies."""

    broken: str | None = None
    # What is in memory here is as safe as it will be; the byte budget bounds it.
    waiting_bytes = 0

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def append(self, runs: list[Run]) -> DurabilityFuture:
        """Keep the lines."""
        for run in runs:
            body = run.segment.body
            assert isinstance(body, MemoryBody)
            body.chunks.append(run.lines)
        future = DurabilityFuture(runs, done=True)
        _count([future], self._counters)
        return future

    def seal(self, segment: Segment) -> None:
        """Freeze the segment at once."""
        segment.frozen.set()

    def stop(self) -> None:
        """Do nothing: there is nothing under way."""


class Committer:
    """The committer: writes what has come meanwhile, syncs each file once, wakes all who wait.

    Where a group has more than a `few` files, `sync_all` syncs them all in one call.
    `run` is the body of the one thread that writes segment files.
    """

    def __init__(
        self,
        counters: Counters,
        *,
        sync_all: Callable[[], None] | None = None,
        few: int = FEW_FILES,
    ) -> None:
        self.broken: str | None = None
        self._counters = counters
        self._sync_all = sync_all
        self._few = few
        # Each has one writer: whoever holds the intake's lock, and the committer.
        self._appended_bytes = self._settled_bytes = 0
        self._inbox: queue.SimpleQueue[DurabilityFuture | Segment | None] = queue.SimpleQueue()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of lines that wait for the disk."""
        return self._appended_bytes - self._settled_bytes

    def append(self, runs: list[Run]) -> DurabilityFuture:
        """Queue one collection for the next group."""
        future = DurabilityFuture(runs)
        self._appended_bytes += future.size
        self._inbox.put(future)
        return future

    def seal(self, segment: Segment) -> None:
        """Queue the end of a segment, behind all that was appended to it."""
        self._inbox.put(segment)

    def stop(self) -> None:
        """Let `run` return once everything queued so far is done."""
        self._inbox.put(None)

    def run(self) -> None:
        """Commit group after group until `stop`."""
        while self.step():
            pass

    def step(self) -> bool:
        """Wait for something to do, then commit it as one group. False after `stop`."""
        futures: list[DurabilityFuture] = []
        seals: list[Segment] = []
        item = self._inbox.get()
        while item is not None:
            if isinstance(item, DurabilityFuture):
                futures.append(item)
            else:
                seals.append(item)
            if len(futures) >= MAX_GROUP:
                break
            try:
                item = self._inbox.get_nowait()
            except queue.Empty:
                break
        size = sum([future.size for future in futures])
        try:
            self._commit(self._refuse_failed(futures))
            for segment in seals:
                self._freeze(segment)
        except Exception as error:  # noqa: BLE001 (whatever it is, nobody may wait for ever)
            self._stop_accepting(futures, error)
            for segment in seals:
                segment.frozen.set()
        self._settled_bytes += size
        return item is not None

    def _commit(self, futures: list[DurabilityFuture]) -> None:
        """Make a group of collections durable: all of them, or none."""
        if not futures:
            return
        runs: dict[Segment, list[tuple[int, bytes]]] = {}
        for future in futures:
            for run in future.runs:
                runs.setdefault(run.segment, []).append((run.first_line, run.lines))
        try:
            for segment, lines in runs.items():
                _file(segment).append(segment.header, lines)
        except OSError as error:
            self._undo(list(runs), futures, reason=f"the spool took no more: {error.strerror}")
            return
        self._sync([_file(segment) for segment in runs])
        _count(futures, self._counters)
        self._counters.add(Field.COMMITS)
        self._counters.add(Field.COMMITTED_COLLECTIONS, len(futures))
        for future in futures:
            future.set_result()

    def _sync(self, files: list[SegmentFile]) -> None:
        """Sync files one by one while they are few, else the whole file system they are on."""
        if self._sync_all is None or len(files) <= self._few:
            for file in files:
                file.sync()
        else:
            self._sync_all()
            for file in files:
                file.synced()

    def _refuse_failed(self, futures: list[DurabilityFuture]) -> list[DurabilityFuture]:
        """Turn away what was given line numbers behind lines that never were."""
        good = []
        for future in futures:
            if self.broken or any(run.segment.write_failed for run in future.runs):
                for run in future.runs:
                    run.segment.write_failed = True
                future.set_exception(NotDurable(self.broken or "the spool took no more"))
            else:
                good.append(future)
        return good

    def _undo(
        self, segments: list[Segment], futures: list[DurabilityFuture], *, reason: str
    ) -> None:
        log.error("commit failed", extra={"reason": reason, "collections": len(futures)})
        for segment in segments:
            segment.write_failed = True
            _file(segment).roll_back()
        for future in futures:
            future.set_exception(NotDurable(reason))

    def _stop_accepting(self, futures: list[DurabilityFuture], error: Exception) -> None:
        """Accept nothing from now on: after a failed sync nobody can tell what is on the disk.

        The kernel forgets failed pages, so that a second fsync would lie
        (https://wiki.postgresql.org/wiki/Fsync_Errors). The files stay for the next start.
        """
        self.broken = f"the spool failed: {error}; restart on a disk that works"
        log.critical("spool broken", extra={"reason": self.broken}, exc_info=error)
        for future in futures:
            for run in future.runs:
                _file(run.segment).cut_back()
            future.set_exception(NotConfirmed(self.broken))

    def _freeze(self, segment: Segment) -> None:
        try:
            if self.broken is None:
                _file(segment).seal(lines=segment.lines, size=segment.size)
        finally:
            segment.frozen.set()


def _file(segment: Segment) -> SegmentFile:
    assert isinstance(segment.body, SegmentFile)
    return segment.body


def _count(futures: list[DurabilityFuture], counters: Counters) -> None:
    payloads = size = 0
    for future in futures:
        size += future.size
        for run in future.runs:
            payloads += run.count
            run.segment.lines += run.count
            run.segment.size += len(run.lines)
    counters.accept(payloads=payloads, size=size)
