"""Jobs that cannot go now: parked with their cause, so that they hold up no worker and no queue.

A cause is shared by all jobs that would fail for it: a bucket that is away, a stream that is
denied, a disk that removes nothing. While it lasts one job at a time probes it, at growing
intervals, and the others wait without an attempt. A success releases what it disproves, and nothing
else. What fails for a reason of its own waits for a time of its own.

Knows no S3, no disk and no thread. Every method is quick and thread-safe.
"""

import heapq
import itertools
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from workers.dispatch import backoff
from workers.dispatch.activity import in_words
from workers.dispatch.causes import Cause, cause_of, keys_of
from workers.dispatch.jobs import Job, Key, Parked
from workers.errors import StoreUnavailable

log = logging.getLogger(__name__)


class Backlog:
    """The parked jobs of one process. `park` makes what is kept of a job; `on_change` wakes."""

    def __init__(
        self,
        *,
        park: Callable[[Job, str], Parked],
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        delay: Callable[[int], float] = backoff.delay,
    ) -> None:
        self._park = park
        self._delay = delay
        self._on_change = on_change
        self._clock = clock
        self._causes: dict[Key, Cause] = {}
        # Those with a due time of their own: a heap of (due, name, a tie-breaker, job).
        self._due: list[tuple[float, str, int, Parked]] = []
        self._due_counts: Counter[str] = Counter()
        self._numbers = itertools.count()
        self._given_up = False
        self._lock = threading.Lock()

    # What workers ask and report

    def admit(self, job: Job) -> bool:
        """Whether an attempt makes sense now; if not, the job is parked, or left at a stop."""
        if self._given_up:
            return False
        if not self._causes:
            return True
        with self._lock:
            blocker = self._claim(job)
            if blocker is None:
                return True
            reason = self._causes[blocker].reason
            self._unclaim(job)
        self._put(self._park(job, reason), blocker=blocker)
        return False

    def failed(self, job: Job, error: Exception, *, has_put: bool = False) -> None:
        """Park a job whose attempt failed, and take note of what that shows.

        `has_put`: S3 took the object, and only its removal from here failed.
        """
        key, reason = cause_of(job, error)
        if not isinstance(error, StoreUnavailable | OSError):
            log.error("upload failed", extra={"segment": job.segment.name}, exc_info=error)
        with self._lock:
            is_probe = key in job.probes
            self._unclaim(job)
            if key is None:
                job.failures += 1
                self._log_failure(job, reason, error, failures=job.failures)
            elif key not in self._causes:
                job.failures += 1
                self._causes[key] = Cause(reason, self._clock() + self._delay(1), in_words(error))
                self._log_failure(job, reason, error, failures=1)
            elif is_probe:
                self._probe_failed(self._causes[key], job, reason, error)
            else:
                # It was under way when the cause began.
                job.failures += 1
            header = job.segment.header
            if has_put:
                self._clear(keys_of(header.bucket, header.stream, is_stored=False))
            elif reason == "denied":
                # It is an answer: the bucket can be reached.
                self._clear([("s3", header.bucket)])
        is_again = key is None or job.failures > 1
        after = self._delay(job.failures) if is_again else 0.0
        self._put(self._park(job, reason), blocker=key, after=after)
        self._on_change()

    def succeeded(self, job: Job, *, has_put: bool) -> None:
        """Release what a success disproves: a PUT its bucket's causes, a removal the disk's."""
        if not self._causes:
            return
        header = job.segment.header
        with self._lock:
            self._unclaim(job)
            keys = [*keys_of(header.bucket, header.stream, is_stored=True)]
            if has_put:
                keys += keys_of(header.bucket, header.stream, is_stored=False)
            cleared = self._clear(keys)
        if cleared:
            self._on_change()

    def abandoned(self, job: Job | Parked) -> None:
        """Take note that a job will not be tried again before the next start."""
        with self._lock:
            self._unclaim(job)

    # What the feeder and the sealer ask

    def next(self) -> Parked | None:
        """Take out the job that should be offered to the queue next, None where none is due."""
        with self._lock:
            now = self._clock()
            for cause in list(self._causes.values()):
                while cause.waiting and not cause.probing and cause.next_try <= now:
                    found = self._claim_parked(cause.waiting.popleft())
                    if found is not None:
                        return found
            while self._due and self._due[0][0] <= now:
                parked = heapq.heappop(self._due)[-1]
                self._due_counts[parked.reason] -= 1
                found = self._claim_parked(parked)
                if found is not None:
                    return found
        return None

    def next_due(self) -> float | None:
        """Return the seconds until `next` may have a job; None where time alone brings none."""
        with self._lock:
            times = [
                cause.next_try
                for cause in self._causes.values()
                if cause.waiting and not cause.probing
            ]
            if self._due:
                times.append(self._due[0][0])
            return max(0.0, min(times) - self._clock()) if times else None

    def put_back(self, job: Job) -> None:
        """Take a job back that the queue had no room for."""
        with self._lock:
            self._unclaim(job)
        self._put(self._park(job, ""))

    def return_unread(self, parked: Parked) -> None:
        """Take a job of `next` back whose lines cannot be read now; it waits longer each time."""
        with self._lock:
            self._unclaim(parked)
        failures = parked.failures + 1
        again = replace(parked, failures=failures, probes=(), reason="disk")
        self._put(again, after=self._delay(failures))

    def is_held_up(self, bucket: str, stream: str) -> bool:
        """Whether a job of this stream would have to wait for another's probe."""
        if not self._causes:
            return False
        with self._lock:
            failing = map(self._causes.get, keys_of(bucket, stream, is_stored=False))
            return any(cause and (cause.waiting or cause.probing) for cause in failing)

    def counts(self) -> Counter[str]:
        """Return how many jobs are parked, by reason; "" are those that may go at once."""
        with self._lock:
            counts = self._due_counts.copy()
            for cause in self._causes.values():
                counts[cause.reason] += len(cause.waiting)
            return counts

    def causes(self) -> dict[Key, Cause]:
        """Return what fails now for all jobs that share it; the causes are not to be changed."""
        return self._causes.copy()

    @property
    def is_empty(self) -> bool:
        """Whether no job is parked."""
        with self._lock:
            return not self._due and not any(cause.waiting for cause in self._causes.values())

    # The stop

    def keep_only(self, place: object) -> None:
        """Drop what is parked of other places: it stays there for another process."""
        with self._lock:
            self._due = [each for each in self._due if each[-1].place is place]
            heapq.heapify(self._due)
            self._due_counts = Counter(each[-1].reason for each in self._due)
            for cause in self._causes.values():
                kept = [one for one in cause.waiting if one.place is place]
                cause.waiting = deque(kept)

    def give_up(self) -> None:
        """Let no attempt begin any more."""
        self._given_up = True
        self._on_change()

    @property
    def has_given_up(self) -> bool:
        """Whether no attempt begins any more."""
        return self._given_up

    # Under the lock

    def _claim(self, job: Job) -> Key | None:
        """Make a job the probe of its failing causes; or return the one that it has to wait for."""
        header = job.segment.header
        keys = keys_of(header.bucket, header.stream, is_stored=job.outcome is not None)
        blocker, claimed = self._try_claim(keys, owned=job.probes)
        if blocker is None:
            # A job that was to probe a cause, and goes elsewhere now, holds it no longer.
            job.probes = tuple(key for key in job.probes if key not in claimed)
            self._unclaim(job)
            job.probes = claimed
        return blocker

    def _claim_parked(self, parked: Parked) -> Parked | None:
        keys = keys_of(parked.bucket, parked.stream, is_stored=parked.outcome is not None)
        blocker, claimed = self._try_claim(keys, owned=())
        if blocker is None:
            return replace(parked, probes=claimed)
        self._causes[blocker].waiting.append(parked)
        return None

    def _try_claim(
        self, keys: Iterable[Key], *, owned: tuple[Key, ...]
    ) -> tuple[Key | None, tuple[Key, ...]]:
        now = self._clock()
        failing = [key for key in keys if key in self._causes]
        for key in failing:
            cause = self._causes[key]
            if key not in owned and (cause.probing or cause.next_try > now):
                return key, ()
        for key in failing:
            self._causes[key].probing = True
        return None, tuple(failing)

    def _unclaim(self, job: Job | Parked) -> None:
        """End the probes that a job was for."""
        for key in job.probes:
            cause = self._causes.get(key)
            if cause is not None:
                cause.probing = False
        if isinstance(job, Job):
            job.probes = ()

    def _probe_failed(self, cause: Cause, job: Job, reason: str, error: Exception) -> None:
        cause.failures += 1
        cause.reason, cause.error = reason, in_words(error)
        cause.next_try = self._clock() + self._delay(cause.failures)
        self._log_failure(job, reason, error, failures=cause.failures)

    def _clear(self, keys: Iterable[Key]) -> bool:
        """Release all that waits for some causes; what fails again and again waits longer."""
        cleared = False
        for key in keys:
            cause = self._causes.pop(key, None)
            if cause is None:
                continue
            cleared = True
            about = {"cause": " ".join(key), "failures": cause.failures}
            log.info("recovered", extra={**about, "parked": len(cause.waiting)})
            for parked in cause.waiting:
                if parked.failures > 1:
                    self._push(parked, after=self._delay(parked.failures))
                else:
                    self._push(replace(parked, reason=""), after=0.0)
        return cleared

    def _put(self, parked: Parked, *, blocker: Key | None = None, after: float = 0.0) -> None:
        with self._lock:
            cause = None if blocker is None else self._causes.get(blocker)
            if cause is not None:
                cause.add(parked)
            else:
                self._push(parked, after=after)

    def _push(self, parked: Parked, *, after: float) -> None:
        # Those that are due come in the order of their names, which is that of their creation.
        due = self._clock() + after if after else 0.0
        heapq.heappush(self._due, (due, parked.name, next(self._numbers), parked))
        self._due_counts[parked.reason] += 1

    def _log_failure(self, job: Job, reason: str, error: Exception, *, failures: int) -> None:
        header = job.segment.header
        about = {"failures": failures, "reason": reason, "segment": header.name}
        about |= {"object": f"s3://{header.bucket}/{header.key}", "error": in_words(error)}
        log.log(logging.WARNING if failures > 1 else logging.INFO, "put failed", extra=about)
