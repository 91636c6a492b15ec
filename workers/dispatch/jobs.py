"""Job, the bounded job queue, and the pool of idle workers' job channels. Data only."""

import queue
from dataclasses import dataclass

from workers.segments.segment import Segment
from workers.spool.process_spool import ProcessSpool


@dataclass(frozen=True, slots=True)
class Job:
    """A sealed segment on its way to S3, and the home that its lines are in."""

    segment: Segment
    process_spool: ProcessSpool


# None is the STOP behind the last job.
JobQueue = queue.Queue[Job | None]
Channel = queue.SimpleQueue[Job | None]
# Channels of workers that are idle now: the channel of channels.
Pool = queue.SimpleQueue[Channel]
