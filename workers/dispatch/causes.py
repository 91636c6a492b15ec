"""Why a job could not go, and which others could not for the same cause. Data, pure functions."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from workers.dispatch.jobs import Job, Key, Parked
from workers.errors import StoreUnavailable

# Words for why a job is parked, as in the metrics: those of S3's failures, and the spool's own.
DISK = "disk"
PARKED_REASONS = ("throttled", "denied", "bucket", "server", "network", "other", DISK)
# What a whole bucket fails for; any success in it disproves all of them.
_OF_BUCKET = frozenset({"throttled", "bucket", "server", "network"})


@dataclass(slots=True)
class Cause:
    """A cause that fails now: when to probe it next, and who waits for that.

    `error` is the last one in words, `since` the first one's time, in seconds since 1970.
    """

    reason: str
    next_try: float
    error: str
    since: float = field(default_factory=time.time)
    failures: int = 1
    probing: bool = False
    waiting: deque[Parked] = field(default_factory=deque)

    def add(self, parked: Parked) -> None:
        """Let a job wait, and drop those before it that were withdrawn."""
        while self.waiting and self.waiting[0].is_void:
            self.waiting.popleft()
        self.waiting.append(parked)


def keys_of(bucket: str, stream: str, *, is_stored: bool) -> tuple[Key, ...]:
    """Return the shared causes that may hold a job up: once it is stored only the disk can."""
    return ((DISK,),) if is_stored else (("s3", bucket), ("denied", bucket, stream))


def attempt_number(job: Job, causes: Mapping[Key, Cause]) -> int:
    """Return which attempt an admitted job's next is; a probe counts those of its causes."""
    probed = [causes[key].failures for key in job.probes if key in causes]
    return max([job.failures, *probed]) + 1


def cause_of(job: Job, error: Exception) -> tuple[Key | None, str]:
    """Return the cause that a failure shows, None where it is the job's own; and its reason."""
    header = job.segment.header
    if isinstance(error, StoreUnavailable):
        if error.reason in _OF_BUCKET:
            return ("s3", header.bucket), error.reason
        if error.reason == "denied":
            return ("denied", header.bucket, header.stream), error.reason
        return None, "other"
    if isinstance(error, OSError):
        # A file that cannot be read says nothing of others; a removal that fails does.
        return ((DISK,) if job.outcome is not None else None), DISK
    return None, "other"
