"""Where accepted lines are made safe: in memory, or on disk by one committer for the whole process.

Both take whole collections and answer with a ticket; the front door waits on it before it says 202.
"""

import logging
import queue
from collections.abc import Callable
from typing import Protocol

from workers.segments.future import Run, Ticket
from workers.segments.segment import MemoryBody, Segment
from workers.spool.counters import Board, Field
from workers.spool.segment_file import SpoolFile

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

    def append(self, runs: list[Run]) -> Ticket:
        """Take one collection; its ticket is settled once it is as safe as it will be."""
        ...

    def seal(self, segment: Segment) -> None:
        """Take note that nothing more comes for a segment; it is `frozen` soon after."""
        ...

    def stop(self) -> None:
        """Take note that nothing more comes at all."""
        ...


class MemoryJournal:
    """Keeps lines in memory: safe until the process dies."""

    broken: str | None = None
    # What is in memory here is as safe as it will be; the byte budget bounds it.
    waiting_bytes = 0

    def __init__(self, board: Board) -> None:
        self._board = board

    def append(self, runs: list[Run]) -> Ticket:
        """Keep the lines."""
        for run in runs:
            body = run.segment.body
            assert isinstance(body, MemoryBody)
            body.chunks.append(run.lines)
        ticket = Ticket(runs, settled=True)
        _count([ticket], self._board)
        return ticket

    def seal(self, segment: Segment) -> None:
        """Freeze the segment at once."""
        segment.frozen.set()

    def stop(self) -> None:
        """Do nothing: there is nothing under way."""


class DiskJournal:
    """The committer: writes what has come meanwhile, syncs each file once, wakes all who wait.

    Where a group has more than a `few` files, `sync_all` syncs them all in one call.
    `run` is the body of the one thread that writes segment files.
    """

    def __init__(
        self,
        board: Board,
        *,
        sync_all: Callable[[], None] | None = None,
        few: int = FEW_FILES,
    ) -> None:
        self.broken: str | None = None
        self._board = board
        self._sync_all = sync_all
        self._few = few
        # Each has one writer: whoever holds the intake's lock, and the committer.
        self._appended_bytes = self._settled_bytes = 0
        self._inbox: queue.SimpleQueue[Ticket | Segment | None] = queue.SimpleQueue()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of lines that wait for the disk."""
        return self._appended_bytes - self._settled_bytes

    def append(self, runs: list[Run]) -> Ticket:
        """Queue one collection for the next group."""
        ticket = Ticket(runs)
        self._appended_bytes += ticket.size
        self._inbox.put(ticket)
        return ticket

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
        tickets: list[Ticket] = []
        seals: list[Segment] = []
        item = self._inbox.get()
        while item is not None:
            if isinstance(item, Ticket):
                tickets.append(item)
            else:
                seals.append(item)
            if len(tickets) >= MAX_GROUP:
                break
            try:
                item = self._inbox.get_nowait()
            except queue.Empty:
                break
        size = sum([ticket.size for ticket in tickets])
        try:
            self._commit(self._refuse_spoiled(tickets))
            for segment in seals:
                self._freeze(segment)
        except Exception as error:  # noqa: BLE001 (whatever it is, nobody may wait for ever)
            self._break(tickets, error)
            for segment in seals:
                segment.frozen.set()
        self._settled_bytes += size
        return item is not None

    def _commit(self, tickets: list[Ticket]) -> None:
        """Make a group of collections durable: all of them, or none."""
        if not tickets:
            return
        runs: dict[Segment, list[tuple[int, bytes]]] = {}
        for ticket in tickets:
            for run in ticket.runs:
                runs.setdefault(run.segment, []).append((run.first_line, run.lines))
        try:
            for segment, lines in runs.items():
                _file(segment).append(segment.header, lines)
        except OSError as error:
            self._undo(list(runs), tickets, reason=f"the spool took no more: {error.strerror}")
            return
        self._sync([_file(segment) for segment in runs])
        _count(tickets, self._board)
        self._board.add(Field.COMMITS)
        self._board.add(Field.COMMITTED_COLLECTIONS, len(tickets))
        for ticket in tickets:
            ticket.settle()

    def _sync(self, files: list[SpoolFile]) -> None:
        """Sync files one by one while they are few, else the whole file system they are on."""
        if self._sync_all is None or len(files) <= self._few:
            for file in files:
                file.sync()
        else:
            self._sync_all()
            for file in files:
                file.synced()

    def _refuse_spoiled(self, tickets: list[Ticket]) -> list[Ticket]:
        """Turn away what was given line numbers behind lines that never were."""
        good = []
        for ticket in tickets:
            if self.broken or any(run.segment.spoiled for run in ticket.runs):
                for run in ticket.runs:
                    run.segment.spoiled = True
                ticket.settle(self.broken or "the spool took no more")
            else:
                good.append(ticket)
        return good

    def _undo(self, segments: list[Segment], tickets: list[Ticket], *, reason: str) -> None:
        log.error("commit failed", extra={"reason": reason, "collections": len(tickets)})
        for segment in segments:
            segment.spoiled = True
            _file(segment).roll_back()
        for ticket in tickets:
            ticket.settle(reason)

    def _break(self, tickets: list[Ticket], error: Exception) -> None:
        """Accept nothing from now on: after a failed sync nobody can tell what is on the disk.

        The kernel forgets failed pages, so that a second fsync would lie
        (https://wiki.postgresql.org/wiki/Fsync_Errors). The files stay for the next start.
        """
        self.broken = f"the spool failed: {error}; restart on a disk that works"
        log.critical("spool broken", extra={"reason": self.broken}, exc_info=error)
        for ticket in tickets:
            for run in ticket.runs:
                _file(run.segment).cut_back()
            ticket.settle(self.broken)

    def _freeze(self, segment: Segment) -> None:
        try:
            if self.broken is None:
                _file(segment).seal(lines=segment.lines, size=segment.size)
        finally:
            segment.frozen.set()


def _file(segment: Segment) -> SpoolFile:
    assert isinstance(segment.body, SpoolFile)
    return segment.body


def _count(tickets: list[Ticket], board: Board) -> None:
    payloads = size = 0
    for ticket in tickets:
        size += ticket.size
        for run in ticket.runs:
            payloads += run.count
            run.segment.lines += run.count
            run.segment.size += len(run.lines)
    board.accept(payloads=payloads, size=size)
