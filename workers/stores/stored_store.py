"""Segments in memory until their objects are in S3: only then are their requests answered.

A segment has one deadline. What no PUT can have stored by then is withdrawn: nothing of it is kept,
and nothing is put later. Where a PUT is under way, or one had no usable answer, its requests
are answered as not confirmed. What is under way then may still be stored, and is counted.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from workers.dispatch.jobs import Job, Parked
from workers.errors import Abandoned, NotConfirmed, NotDurable, Refusal
from workers.segments.future import DurabilityFuture
from workers.segments.segment import Header, Segment
from workers.settings.settings import Settings
from workers.spool.spool import Spool
from workers.stores.awaited_body import AwaitedBody
from workers.stores.memory_store import MemoryStore

log = logging.getLogger(__name__)

# Of `REQUEST_SECONDS`: a segment takes lines for a quarter at most, so that those that come last
# have time, too; the rest of the last part is for the way back to the client.
CLOSING_SHARE, DEADLINE_SHARE = 0.25, 0.95
# A PUT that failed so may have taken effect.
MAYBE_STORED = frozenset({"network", "server", "other"})


class StoredStore(MemoryStore):
    """Keeps lines in memory; the process's directory has its counters, and no lines ever.

    `watch` runs in the thread `committer`.
    """

    def __init__(
        self, spool: Spool, *, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        seconds = settings.request_seconds
        self._seconds = DEADLINE_SHARE * seconds
        self._open_seconds = max(CLOSING_SHARE * seconds, settings.stored_max_wait_seconds)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        # In the order of their creation, and so of their deadlines.
        self._closing: deque[Segment] = deque()
        self._awaited: deque[Segment] = deque()
        # How many segments each collection still waits for.
        self._left: dict[DurabilityFuture, int] = {}
        self._last_deadline = float("inf")
        self._has_ended = False
        super().__init__(spool, max_bytes=settings.memory_max_bytes)

    def create(self, header: Header) -> Segment:
        """Make a segment whose requests wait for its object."""
        now = self._clock()
        body = AwaitedBody(
            self._lock,
            counters=self.counters,
            closes_at=now + self._open_seconds,
            deadline=now + self._seconds,
        )
        segment = Segment(header, body)
        self.directory.hold(segment)
        with self._lock:
            self._closing.append(segment)
            self._awaited.append(segment)
            if len(self._awaited) == 1:
                self._changed.notify_all()
        return segment

    def append(self, group: Sequence[DurabilityFuture]) -> None:
        """Keep the lines of a group, and who waits for them. Does not block.

        Raises:
            NotDurable: a segment's time is over; none of it is kept.
        """
        with self._lock:
            for future in group:
                segments = {run.segment for run in future.runs}
                if any(_body(segment).is_over for segment in segments):
                    for segment in segments:
                        # Lines have been given numbers, and do not come.
                        segment.write_failed = True
                    raise NotDurable("S3 has taken nothing in time")
                for run in future.runs:
                    _body(run.segment).chunks.append(run.lines)
                    run.segment.lines += run.count
                    run.segment.size += len(run.lines)
                for segment in segments:
                    _body(segment).futures.append(future)
                self._left[future] = len(segments)

    def finish(self, job: Job, *, stored: int, dead: int) -> None:
        """Answer the requests of a segment that is stored, or of one that will not be."""
        segment, body = job.segment, _body(job.segment)
        del dead
        with self._lock:
            body.is_trying = False
            done = self._settle(body) if stored else []
            failed = [] if stored else self._give_up(segment)
            if self._has_ended:
                self._changed.notify_all()
        self._forget(segment, stored=stored)
        for future in done:
            future.set_result()
        _refuse(failed, NotDurable("the object cannot be stored"))

    def keep_dead(self, job: Job, reason: str) -> None:
        """Refuse the requests of an object that S3 refuses for good: nothing was accepted.

        Raises:
            Abandoned: always; there is nothing more to do with the job.
        """
        with self._lock:
            failed = self._give_up(job.segment)
        self._forget(job.segment)
        _refuse(failed, NotDurable(reason))
        raise Abandoned(reason)

    def park(self, job: Job, reason: str) -> Parked:
        """Keep a job that cannot go now; one that is too late is withdrawn instead."""
        body = _body(job.segment)
        with self._lock:
            if body.is_trying:
                body.is_trying = False
                body.reason = reason
                body.may_be_stored |= job.was_sent and reason in MAYBE_STORED
                job.was_sent = True
            is_over = body.is_over
        if is_over:
            self._forget(job.segment)
        return super().park(job, reason)

    def drop(self, segment: Segment) -> None:
        """Remove a segment without lines, unless that is done."""
        self._forget(segment)

    def persist(self) -> None:
        """Do nothing: what is not in S3 was not accepted."""

    def expire(self) -> float | None:
        """Answer the requests whose time is over. Return the seconds until the next, if any."""
        with self._lock:
            now = self._clock()
            while self._closing and _body(self._closing[0]).closes_at <= now:
                # A new segment opens, if the queue has room for this one.
                self._closing.popleft().write_failed = True
            late = []
            while self._awaited and self._deadline(self._awaited[0]) <= now:
                segment = self._awaited.popleft()
                if not _body(segment).is_over:
                    late.append((segment, _body(segment).is_trying, self._give_up(segment)))
            times = [_body(self._closing[0]).closes_at] if self._closing else []
            times += [self._deadline(self._awaited[0])] if self._awaited else []
        for segment, is_trying, futures in late:
            body = _body(segment)
            if not is_trying:
                self._forget(segment)
            why = f"S3 has not answered in time ({body.reason or 'busy'})"
            is_unknown = is_trying or body.may_be_stored
            _refuse(futures, NotConfirmed(why) if is_unknown else NotDurable(why))
        return max(0.0, min(times) - self._clock()) if times else None

    def watch(self) -> None:
        """Body of the thread `committer`: answer what is late, until `end`."""
        while True:
            left = self.expire()
            with self._changed:
                if self._has_ended and not self._left:
                    return
                self._changed.wait(left)

    def end(self, seconds: float) -> None:
        """At a stop: let no request wait longer than so, and `watch` return after the last."""
        with self._changed:
            self._last_deadline = self._clock() + seconds
            self._has_ended = True
            self._changed.notify_all()

    def refuse_all(self, refusal: Refusal) -> None:
        """Refuse all that wait: nothing watches their time any more."""
        with self._lock:
            futures = list(self._left)
            self._left.clear()
        _refuse(futures, refusal)

    def _deadline(self, segment: Segment) -> float:
        return min(_body(segment).deadline, self._last_deadline)

    def _settle(self, body: AwaitedBody) -> list[DurabilityFuture]:
        """End a stored segment; return the collections that wait for no other. Under the lock."""
        body.is_over = True
        done = []
        for future in body.futures:
            left = self._left.get(future, 0) - 1
            if left > 0:
                self._left[future] = left
            elif self._left.pop(future, None) is not None:
                done.append(future)
        body.futures = []
        return done

    def _give_up(self, segment: Segment) -> list[DurabilityFuture]:
        """End a segment that is not stored; return who waits for it. Under the lock."""
        body = _body(segment)
        body.is_over = segment.write_failed = True
        futures = [future for future in body.futures if self._left.pop(future, None) is not None]
        body.futures = []
        return futures

    def _forget(self, segment: Segment, *, stored: int = 0) -> None:
        """Free a segment's lines, once. A job of one that is not stored does nothing any more."""
        body = _body(segment)
        with self._lock:
            if body.is_gone:
                return
            body.is_gone = True
            body.stored, body.stored_size = stored, segment.size
            if not stored:
                segment.lines = 0
        self.directory.finish(segment, stored=stored)


def _refuse(futures: Sequence[DurabilityFuture], refusal: Refusal) -> None:
    for future in futures:
        # Of a collection over several objects another one may be stored.
        is_partly = len({run.segment for run in future.runs}) > 1
        future.set_exception(NotConfirmed(str(refusal)) if is_partly else refusal)


def _body(segment: Segment) -> AwaitedBody:
    assert isinstance(segment.body, AwaitedBody)
    return segment.body
