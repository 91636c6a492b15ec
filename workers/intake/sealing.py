"""Open segments become jobs: when they are full or old enough, and the job queue has room.

Every put into the job queue is here, under the intake's lock: the holder of the lock sees how much
room there is and knows that it will not get less. Knows no S3 and no disk.
"""

import queue
from collections.abc import Callable, Collection
from heapq import nsmallest

from workers.dispatch.jobs import Job, JobQueue
from workers.intake.placement import is_full, is_void
from workers.segments.segment import Segment
from workers.settings.queue import is_sqs
from workers.settings.settings import Settings
from workers.settings.stored import STORED
from workers.spool.counters import Counters, Field
from workers.stores.committer import Journal
from workers.stores.store import Store

# Of so many streams it is kept what their ended segments took in: those that ended one last.
MAX_ENDED = 1024


class Sealing:
    """The open segments, one per partition, and the way into the queue.

    Methods are called under the intake's lock unless they say otherwise; none blocks.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        jobs: JobQueue,
        committer: Journal,
        counters: Counters,
        is_held_up: Callable[[str, str], bool],
    ) -> None:
        self.open: dict[str, Segment] = {}
        # A segment or the backlog waits for room in the queue.
        self.starved = False
        # Lines and bytes that ended segments took in, by stream, for those who look.
        self.ended: dict[str, tuple[int, int]] = {}
        self._max_lines = settings.object_max_payloads
        self._max_age = settings.object_max_age_seconds
        if settings.durability == STORED or is_sqs(settings.queue_url):
            # Every request waits for its object, or its message.
            self._max_age = min(self._max_age, settings.stored_max_wait_seconds)
        self._max_wait = settings.stored_max_wait_seconds
        self._store = store
        self._jobs = jobs
        self._committer = committer
        self._counters = counters
        self._is_held_up = is_held_up
        self._backlog_waits = False
        # Places in the queue that are the backlog's: one after each fresh job that filled it.
        self._owed = 0

    def room(self) -> int:
        """Return how many fresh jobs the queue would take now.

        In a shared store they go to all processes: this one's queue does not bound them.
        """
        if self._store.is_shared:
            return self._jobs.maxsize
        return max(0, self._jobs.maxsize - self._jobs.qsize() - self._owed)

    def is_full(self, segment: Segment) -> bool:
        """Whether an open segment should be sealed now, however young it is."""
        return is_full(segment, self._max_lines)

    def end(self, segment: Segment) -> Job | None:
        """End a segment; return its job, None if there is nothing in it.

        A void segment is dropped without a job, so that a full disk does not fill the queue.
        """
        if self.open.get(segment.partition) is segment:
            del self.open[segment.partition]
        segment.sealed = True
        self._count_ended(segment)
        void = is_void(segment)
        self._committer.seal(segment, drop=void)
        return None if void else self._store.job(segment)

    def seal(self, segment: Segment) -> None:
        """Make a job of a segment and put it into the queue, which has room."""
        job = self.end(segment)
        if job is not None:
            self._put(job)
            if self._backlog_waits and self._jobs.full():
                self._owed = 1

    def seal_full(self, segment: Segment) -> None:
        """Seal a segment if it is full and the queue has room."""
        if is_full(segment, self._max_lines):
            if self.room() > 0 or is_void(segment):
                self.seal(segment)
            else:
                self.starved = True

    def seal_due(self, now: float) -> float | None:
        """Seal what is full or old enough, oldest first, while the queue has room.

        A segment whose job could not go now fills up instead: larger objects, and fewer.

        Returns:
            Seconds until the next segment is old enough; None when nothing waits for time alone.
        """
        next_due: float | None = None
        self.starved = False
        for segment in sorted(self.open.values(), key=lambda segment: segment.created_at):
            header = segment.header
            if not self.is_full(segment):
                left = min(segment.created_at + self._max_age, segment.seal_by) - now
                if left > 0:
                    next_due = left if next_due is None else min(next_due, left)
                    continue
                if self._is_held_up(header.bucket, header.stream):
                    continue
            if self.room() > 0 or is_void(segment):
                self.seal(segment)
            else:
                self.starved = True
        return next_due

    def hasten(self, segment: Segment, now: float) -> bool:
        """Have a segment sealed soon, as a request waits for its object.

        Returns:
            Whether this is the first such request: the others share the object.
        """
        if segment.sealed or segment.seal_by < now + self._max_wait:
            return False
        segment.seal_by = now + self._max_wait
        return True

    def seal_largest(self) -> None:
        """Make room in the budget: waiting for age would only refuse for longer."""
        if self.open and self.room() > self._jobs.maxsize // 2:
            self.seal(max(self.open.values(), key=lambda segment: segment.held_bytes))

    def seal_least_used(self, number: int, *, kept: Collection[Segment]) -> None:
        """Make way for other partitions; the queue has room, and none of `kept` is sealed."""
        others = (segment for segment in self.open.values() if segment not in kept)
        for segment in nsmallest(number, others, key=lambda segment: segment.last_use):
            self.seal(segment)
        self._counters.add(Field.EARLY_SEALS, number)

    def wants_backlog(self) -> bool:
        """Whether a job of the backlog may come. Needs no lock.

        The backlog fills half of the queue: the other half is for what comes in now. Once the queue
        is full the two take turns, so that neither starves.
        """
        queued = self._jobs.qsize()
        wanted = queued <= (self._jobs.maxsize - 1) // 2
        wanted |= self._owed > 0 and queued < self._jobs.maxsize
        self._backlog_waits = not wanted
        self.starved |= not wanted
        return wanted

    def offer(self, job: Job) -> bool:
        """Put a job of the backlog into the queue; False if there is no room."""
        try:
            self._put(job)
        except queue.Full:
            return False
        self._owed = 0
        return True

    def backlog_is_served(self) -> None:
        """Take note that the backlog has no job to offer now."""
        self._backlog_waits = False
        self._owed = 0

    def show_depth(self) -> None:
        """Publish how many jobs wait. Needs no lock."""
        self._counters[Field.QUEUE_DEPTH] = self._jobs.qsize()

    def _count_ended(self, segment: Segment) -> None:
        stream = segment.header.stream
        lines, size = self.ended.pop(stream, (0, 0))
        self.ended[stream] = lines + segment.reserved_lines, size + segment.reserved_size
        if len(self.ended) > MAX_ENDED:
            del self.ended[next(iter(self.ended))]

    def _put(self, job: Job) -> None:
        self._jobs.put_nowait(job)
        self.show_depth()
