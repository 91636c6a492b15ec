"""Feeds the queue: age, room and the backlog become jobs, in the thread `sealer`.

The backlog are parked jobs that are due, then those of the job source, oldest first.
"""

import logging
import time
from collections.abc import Callable

from workers.dispatch.backlog import Backlog
from workers.dispatch.causes import PARKED_REASONS
from workers.dispatch.jobs import Job, JobQueue
from workers.intake.intake import Intake
from workers.spool.counters import Field
from workers.stores.job_source import JobSource
from workers.stores.store import Store

log = logging.getLogger(__name__)

# Jobs of one round: each is read from the disk, and open segments must not wait too long.
MAX_ROUND = 64
CHECK_SECONDS = 1.0


class Feeder:
    """`run` is the body of the thread `sealer`; the rest can be called without a thread.

    `publish` is called every second, to show how the process is.
    """

    def __init__(
        self,
        *,
        intake: Intake,
        backlog: Backlog,
        source: JobSource,
        store: Store,
        jobs: JobQueue,
        publish: Callable[[], None] = lambda: None,
    ) -> None:
        self._intake = intake
        self._backlog = backlog
        self._source = source
        self._store = store
        self._jobs = jobs
        self._publish = publish
        # At a stop what is another process's stays where it is.
        self.feeds_others = True
        self._ends_when_idle = False

    def run(self) -> None:
        """Seal and feed until a stop has nothing left to feed, or gives up."""
        check_at = 0.0
        while not self._is_over():
            due = self._intake.seal_due()
            try:
                self.feed()
                self._source.tidy()
                if time.monotonic() >= check_at:
                    self.check()
                    check_at = time.monotonic() + CHECK_SECONDS
            except Exception:
                log.exception("sealer failed; it goes on")
            self._intake.wait_due(self.pause(due))

    def feed(self) -> None:
        """Offer jobs until the queue wants no more, or there are none. Blocks on the disk."""
        for _ in range(MAX_ROUND):
            if not self._has_due():
                self._intake.backlog_is_served()
                return
            if not self._intake.wants_backlog():
                return
            job = self._next()
            if job is not None and self._backlog.admit(job) and not self._intake.offer(job):
                self._backlog.put_back(job)
                return
        self._intake.wake()

    def pause(self, next_age: float | None) -> float:
        """Return the seconds to wait after a round, unless woken; `next_age` is the next seal's.

        What is due already waits for room in the queue, which wakes, and not for time.
        """
        next_try = self._backlog.next_due() or CHECK_SECONDS
        return min(CHECK_SECONDS if next_age is None else next_age, next_try, CHECK_SECONDS)

    def check(self) -> None:
        """See whether the store takes anything, and publish what is parked. Blocks on the disk."""
        self._store.check()
        counts = self._backlog.counts()
        for reason in PARKED_REASONS:
            self._store.counters[Field[f"PARKED_{reason.upper()}"]] = counts[reason]
        self._publish()

    def end_when_idle(self) -> None:
        """Let `run` return once no job is parked, queued or under way."""
        self._ends_when_idle = True

    def _is_over(self) -> bool:
        if self._backlog.has_given_up:
            return True
        # In this order: a job is parked before it is settled.
        is_idle = self._ends_when_idle and self._jobs.unfinished_tasks == 0
        return is_idle and self._backlog.is_empty

    def _has_due(self) -> bool:
        due = self._backlog.next_due()
        return due == 0.0 or (self.feeds_others and self._source.is_waiting)

    def _next(self) -> Job | None:
        parked = self._backlog.next()
        if parked is None:
            return self._source.next() if self.feeds_others else None
        try:
            job = self._store.load(parked)
        except Exception:
            # An error of any kind must not drop the job.
            log.exception("cannot read a segment", extra={"segment": parked.name})
            self._backlog.return_unread(parked)
            return None
        if job is None:
            self._backlog.abandoned(parked)
        return job
