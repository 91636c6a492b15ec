"""The stop of a pipeline, step by step, within one deadline.

Nothing depends on it in disk mode: kill -9 is right too, only slower.
"""

import logging
import queue
import time
from dataclasses import dataclass

from workers.dispatch.backlog import Backlog
from workers.dispatch.jobs import Job, JobQueue
from workers.figures.collector import Collector
from workers.intake.feeder import Feeder
from workers.intake.intake import Intake
from workers.stores.committer import Journal
from workers.stores.job_source import JobSource
from workers.stores.store import Store
from workers.threads import Threads

log = logging.getLogger(__name__)

# Uploading gets this share of the time; the rest is for writing down what is left.
UPLOAD_SHARE = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """What the stop has to do with. `run` is called once, and blocks until the deadline at most."""

    intake: Intake
    committer: Journal
    store: Store
    jobs: JobQueue
    backlog: Backlog
    feeder: Feeder
    source: JobSource
    figures: Collector
    threads: Threads

    def run(self, drain_seconds: float) -> None:
        """Stop in order. What cannot be uploaded stays on the disk, for the next start."""
        now = time.monotonic()
        upload_until, deadline = now + drain_seconds * UPLOAD_SHARE, now + drain_seconds
        log.info("stopping", extra=self._about())
        self._refuse()
        jobs = self._end_segments()
        # Memory becomes disk before anything is waited for: from here on a kill loses nothing.
        self.store.persist()
        self._upload(jobs, upload_until)
        self._end_workers(deadline)
        self.store.persist()
        self._release()

    def _refuse(self) -> None:
        """1. Nothing comes in any more, and nothing of another process is begun."""
        self.intake.close()
        self.feeder.feeds_others = False
        self.backlog.keep_only(self.store.own)

    def _end_segments(self) -> list[Job]:
        """2. Open segments become jobs; the committer ends behind the last collection it was given.

        The jobs do not wait for it: a worker waits until its job's segment is frozen.
        """
        jobs = self.intake.freeze_all()
        self.committer.stop()
        return jobs

    def _upload(self, jobs: list[Job], until: float) -> None:
        """3. All jobs go on, parked ones again and again, until none is left or the time is up."""
        for job in jobs:
            self._put(job, until)
        self.feeder.end_when_idle()
        self.intake.wake()
        self.threads.join("sealer", deadline=until)

    def _end_workers(self, deadline: float) -> None:
        """4. No attempt begins any more: what is queued passes through untouched, STOP behind it.

        The dispatcher ends there, and ends each worker once it is idle.
        """
        self.backlog.give_up()
        self._put(None, deadline)
        self.threads.watchers_end.set()
        self.threads.join(deadline=deadline)

    def _release(self) -> None:
        """5. The directories are given up; one with nothing left in it goes."""
        left = self.source.pending
        # What another machine uploads of a shared store is counted there.
        left += 0 if self.store.is_shared else self.store.counters.pending
        log.log(logging.WARNING if left else logging.INFO, "stopped", extra={"left_on_disk": left})
        if self.threads.alive:
            # A PUT still hangs; its worker may yet count. The kernel frees the locks after us.
            return
        self.source.close()
        self.figures.close()
        self.store.close()

    def _put(self, job: Job | None, deadline: float) -> None:
        try:
            self.jobs.put(job, timeout=max(0.0, deadline - time.monotonic()))
        except queue.Full:
            log.warning("no room in the queue before the deadline")

    def _about(self) -> dict[str, object]:
        return {"queued": self.jobs.qsize(), "segments": len(self.store.unfinished())}
