"""A worker: offers its own channel when idle, takes one job from it, makes one attempt.

Knows no S3: what to do with a job is given.
"""

import logging
import queue
import time
from collections.abc import Callable

from workers.dispatch.activity import Failure, Work, in_words
from workers.dispatch.backlog import Backlog
from workers.dispatch.causes import attempt_number
from workers.dispatch.jobs import Channel, Job, Pool
from workers.errors import Abandoned

log = logging.getLogger(__name__)


class Worker:
    """One of `MAX_WORKERS`. `run` is the body of a thread `worker-<n>`.

    `work` and `last_failure` are for others to read.
    """

    def __init__(
        self,
        *,
        idle: Pool,
        upload: Callable[[Job], None],
        backlog: Backlog,
        on_idle: Callable[[int], None],
        on_settled: Callable[[], None],
    ) -> None:
        self._idle = idle
        self._upload = upload
        self._backlog = backlog
        self._on_idle = on_idle
        self._on_settled = on_settled
        self._channel: Channel = queue.SimpleQueue()
        self.work: Work | None = None
        self.last_failure: Failure | None = None

    def run(self) -> None:
        """Take jobs until dismissed with None."""
        while True:
            self._on_idle(+1)
            self._idle.put(self._channel)
            job = self._channel.get()
            self._on_idle(-1)
            if job is None:
                return
            try:
                self.attempt(job)
            finally:
                self.work = None
                self._on_settled()
            # An idle thread must not keep a whole segment alive.
            del job

    def attempt(self, job: Job) -> None:
        """Make one attempt; a job that fails is parked, and is never dropped."""
        job.segment.frozen.wait()
        if not self._backlog.admit(job):
            return
        was_stored = job.outcome is not None
        self.work = self._describe(job)
        try:
            self._upload(job)
        except Abandoned as error:
            about = {"segment": job.segment.name, "reason": str(error)}
            log.warning("upload given up for now", extra=about)
            self._backlog.abandoned(job)
        except Exception as error:  # noqa: BLE001 (after any error the job is tried again)
            place = f"s3://{job.segment.header.bucket}/{job.segment.header.key}"
            self.last_failure = Failure(at=time.time(), object=place, error=in_words(error))
            self._backlog.failed(job, error, has_put=_has_put(job, was_stored=was_stored))
        else:
            self._backlog.succeeded(job, has_put=_has_put(job, was_stored=was_stored))

    def _describe(self, job: Job) -> Work:
        segment = job.segment
        return Work(
            segment=segment.name,
            stream=segment.header.stream,
            payloads=segment.lines,
            size=segment.size,
            attempt=attempt_number(job, self._backlog.causes()),
            since=time.time(),
        )


def _has_put(job: Job, *, was_stored: bool) -> bool:
    """Whether this attempt has put the job's object."""
    return not was_stored and job.outcome is not None and job.outcome.stored > 0
