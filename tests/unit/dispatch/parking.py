"""Jobs in memory, how they are parked, and a clock that moves when it is told to."""

from typing import Any

from workers.dispatch.jobs import Job, Parked
from workers.segments.segment import Header, MemoryBody, Segment

NOWHERE: Any = None


class Clock:
    """Seconds; `now` is set by the test."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_job(name: str, *, stream: str = "s", bucket: str = "b") -> Job:
    """Make a job whose lines are in memory."""
    header = Header(name=name, stream=stream, bucket=bucket, key="k", compression="none")
    segment = Segment(header, MemoryBody())
    segment.frozen.set()
    return Job(segment, NOWHERE)


def park(job: Job, reason: str) -> Parked:
    """Keep a job's segment."""
    return Parked.of(job, reason=reason, segment=job.segment, held_bytes=0)
