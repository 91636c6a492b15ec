"""A worker: offers its own channel when idle, takes one job from it, sees it through.

Knows no S3: what to do with a job is given.
"""

import logging
import queue
from collections.abc import Callable

from workers.dispatch.backoff import Backoff
from workers.dispatch.jobs import Channel, Job, Pool
from workers.errors import Abandoned, StoreUnavailable

log = logging.getLogger(__name__)


class Worker:
    """One of `MAX_WORKERS`. `run` is the body of a thread `worker-<n>`."""

    def __init__(
        self,
        *,
        idle: Pool,
        upload: Callable[[Job], None],
        backoff: Backoff,
        on_idle: Callable[[int], None],
    ) -> None:
        self._idle = idle
        self._upload = upload
        self._backoff = backoff
        self._on_idle = on_idle
        self._channel: Channel = queue.SimpleQueue()

    def run(self) -> None:
        """Take jobs until dismissed with None."""
        while True:
            self._on_idle(+1)
            self._idle.put(self._channel)
            job = self._channel.get()
            self._on_idle(-1)
            if job is None:
                return
            self._upload_with_retries(job)
            # An idle thread must not keep a whole segment alive.
            del job

    def _upload_with_retries(self, job: Job) -> None:
        """Upload the job; a job is never dropped, whatever goes wrong."""
        failures = 0
        try:
            while True:
                try:
                    self._backoff.check()
                    self._upload(job)
                except Abandoned:
                    raise
                except StoreUnavailable as error:
                    failures += 1
                    level = logging.WARNING if failures > 1 else logging.INFO
                    about = {"failures": failures, "reason": error.reason}
                    about |= {"segment": job.segment.name, "error": str(error)[:300]}
                    log.log(level, "put failed", extra=about)
                    self._backoff.wait(failures)
                except Exception:
                    failures += 1
                    log.exception("upload failed", extra={"segment": job.segment.name})
                    self._backoff.wait(failures)
                else:
                    if job.outcome and job.outcome.stored:
                        self._backoff.record_success()
                    return
        except Abandoned:
            log.warning("upload given up for now", extra={"segment": job.segment.name})
