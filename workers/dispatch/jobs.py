"""Job, the bounded job queue, and the pool of idle workers' job channels. Data only."""

import queue
import sys
from dataclasses import dataclass
from typing import Any

from workers.segments.segment import Segment

# A cause that several jobs can fail for: ("s3", bucket), ("denied", bucket, stream), ("disk",).
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job's lines; once it is known, only the removal is left to do."""

    stored: int
    dead: int


@dataclass(slots=True, eq=False)
class Job:
    """A sealed segment on its way to S3. `place` is the store's own handle.

    One thread at a time has it. `outcome` is set once its object is verified. `failures` counts its
    own failed attempts, `probes` are the failing causes that its next attempt tries. `was_sent`:
    whether the last attempt's PUT may have reached S3.
    """

    segment: Segment
    place: Any
    outcome: Outcome | None = None
    failures: int = 0
    probes: tuple[Key, ...] = ()
    was_sent: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """What is kept of a job that cannot go now; `segment` only where its lines are in memory."""

    name: str
    bucket: str
    stream: str
    place: Any
    held_bytes: int
    segment: Segment | None
    outcome: Outcome | None
    failures: int
    reason: str
    probes: tuple[Key, ...] = ()

    @classmethod
    def of(cls, job: Job, *, reason: str, segment: Segment | None, held_bytes: int) -> "Parked":
        """Keep what is needed of a job; `segment` as above."""
        header = job.segment.header
        return cls(
            name=header.name,
            # Many are kept at a time.
            bucket=sys.intern(header.bucket),
            stream=sys.intern(header.stream),
            place=job.place,
            held_bytes=held_bytes,
            segment=segment,
            outcome=job.outcome,
            failures=job.failures,
            reason=reason,
        )

    def job(self, segment: Segment) -> Job:
        """Return the job again, with its segment."""
        return Job(
            segment,
            self.place,
            outcome=self.outcome,
            failures=self.failures,
            probes=self.probes,
        )

    @property
    def is_void(self) -> bool:
        """Whether its lines were withdrawn since: it is a job without any."""
        segment = self.segment
        return segment is not None and segment.write_failed and not segment.lines


# None is the STOP behind the last job.
JobQueue = queue.Queue[Job | None]
Channel = queue.SimpleQueue[Job | None]
# Channels of workers that are idle now: the channel of channels.
Pool = queue.SimpleQueue[Channel]
