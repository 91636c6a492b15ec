"""Collects what a process shows of itself, every second or two.

That is done in the thread `sealer`, or in one of its own where showing it may take long. No request
adds to it: what streams took in is summed up from their segments, once a second for
each 250 that are open, so that many streams cost no more than few.
"""

import heapq
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from workers.dispatch.backlog import Backlog
from workers.dispatch.jobs import Job, JobQueue
from workers.dispatch.worker import Worker
from workers.figures.figures import (
    CauseFigures,
    PartitionFigures,
    ProcessFigures,
    StoredFigures,
    StreamFigures,
    WorkerFigures,
)
from workers.figures.place import Place
from workers.figures.published import MAX_OBJECTS, newest
from workers.intake.intake import Intake
from workers.segments.partitions import values_of
from workers.segments.segment import Segment

log = logging.getLogger(__name__)

MAX_STREAMS_SHOWN = 200
MAX_PARTITIONS_SHOWN = 20
# A summing-up of so many open segments takes one to two milliseconds.
SEGMENTS_A_SECOND = 250
# A rate follows a change by two thirds within so many seconds.
RATE_SECONDS = 5.0


class StreamRates:
    """The rates of streams, from what their segments took in until now."""

    def __init__(self) -> None:
        self._at = time.monotonic()
        self._totals: dict[str, tuple[int, int]] = {}
        self._rates: dict[str, tuple[float, float]] = {}

    def update(
        self, open_segments: Sequence[Segment], ended: dict[str, tuple[int, int]]
    ) -> dict[str, tuple[float, float]]:
        """Return payloads and bytes per second by stream; those that rest are left out."""
        now = time.monotonic()
        seconds, self._at = max(now - self._at, 0.001), now
        totals = dict(ended)
        for segment in open_segments:
            lines, size = totals.get(segment.header.stream, (0, 0))
            totals[segment.header.stream] = (
                lines + segment.reserved_lines,
                size + segment.reserved_size,
            )
        weight = min(1.0, seconds / RATE_SECONDS)
        rates = {}
        for stream, total in totals.items():
            before = self._totals.get(stream, (0, 0))
            if total == before and stream not in self._rates:
                continue
            old = self._rates.get(stream, (0.0, 0.0))
            new = tuple(max(0, a - b) / seconds for a, b in zip(total, before, strict=True))
            lines_rate, size_rate = (o + (n - o) * weight for o, n in zip(old, new, strict=True))
            if lines_rate > 0.01:
                rates[stream] = lines_rate, size_rate
        self._totals, self._rates = totals, rates
        return rates


class Collector:
    """What this process shows, in a place, which may be none. One thread at a time publishes."""

    def __init__(
        self,
        place: Place | None,
        *,
        role: str,
        workers: Sequence[Worker],
        intake: Intake,
        backlog: Backlog,
        jobs: JobQueue,
    ) -> None:
        # What access keys were used for, where that is not shared by files.
        self.keys: Callable[[], dict[str, list[int]]] = dict
        self._place = place
        self._role = role
        self._workers = workers
        self._intake = intake
        self._backlog = backlog
        self._jobs = jobs
        self._rates = StreamRates()
        self._streams: list[StreamFigures] = []
        self._sum_up_at = 0.0
        self._objects: deque[StoredFigures] = deque(maxlen=MAX_OBJECTS)
        self._started_at = time.time()
        self._machine = socket.gethostname()

    @property
    def has_thread(self) -> bool:
        """Whether `run` is to have a thread of its own."""
        return self._place is not None and self._place.is_slow

    def stored(self, job: Job, stored_size: int) -> None:
        """Take note of a job that is finished, and the bytes of its object. Does not block."""
        if job.outcome is None or not job.outcome.stored:
            return
        segment, header = job.segment, job.segment.header
        self._objects.append(
            StoredFigures(
                at=time.time(),
                stream=header.stream,
                segment=header.name,
                bucket=header.bucket,
                key=header.key,
                payloads=segment.lines,
                size=segment.size,
                stored_size=stored_size,
                values=values_of(segment.partition),
            )
        )

    def publish(self) -> None:
        """Write what this process shows, and the moment's slot of the history. Blocks."""
        if self._place is not None:
            self._place.write(self.collect())

    def run(self, wait: Callable[[float], bool]) -> None:
        """Publish now and then: the body of a thread, where that may block for long.

        `wait` waits for some seconds, and says whether that is over.
        """
        assert self._place is not None
        is_over = False
        while not is_over:
            try:
                self.publish()
            except Exception:
                log.exception("figures failed; they go on")
            is_over = wait(self._place.seconds)

    def close(self) -> None:
        """Say that this process ends. No other thread may be in here any more. Blocks."""
        if self._place is not None:
            self._place.close(self.collect())

    def collect(self) -> ProcessFigures:
        """Return what this process shows now."""
        segments = self._intake.open_segments()
        if time.monotonic() >= self._sum_up_at:
            self._sum_up_at = time.monotonic() + len(segments) / SEGMENTS_A_SECOND
            self._streams = self._sum_up(segments)
        uploads = self._role != "web"
        inherited = () if self._place is None else self._place.inherited
        return ProcessFigures(
            machine=self._machine,
            role=self._role,
            pid=os.getpid(),
            started_at=self._started_at,
            written_at=time.time(),
            refusal=self._intake.refusal(),
            queued=self._jobs.qsize(),
            max_queue=self._jobs.maxsize if uploads else 0,
            workers=[
                WorkerFigures(name=f"worker-{n}", work=each.work, last_failure=each.last_failure)
                for n, each in enumerate(self._workers if uploads else (), 1)
            ],
            streams=self._streams,
            open_segments=len(segments),
            parked={reason: n for reason, n in self._backlog.counts().items() if n},
            causes=list(self._causes()),
            objects=newest([*self._objects, *inherited]),
            keys=self.keys(),
        )

    def _sum_up(self, segments: Sequence[Segment]) -> list[StreamFigures]:
        rates = self._rates.update(segments, self._intake.ended())
        by_stream: dict[str, list[Segment]] = {stream: [] for stream in rates}
        for segment in segments:
            by_stream.setdefault(segment.header.stream, []).append(segment)
        rest = (0.0, 0.0)
        busiest = heapq.nsmallest(
            MAX_STREAMS_SHOWN, by_stream, key=lambda stream: (-rates.get(stream, rest)[0], stream)
        )
        return [_stream(each, by_stream[each], rates.get(each, rest)) for each in busiest]

    def _causes(self) -> Iterable[CauseFigures]:
        now = time.monotonic()
        for key, cause in self._backlog.causes().items():
            yield CauseFigures(
                key=key,
                reason=cause.reason,
                since=cause.since,
                error=cause.error,
                failures=cause.failures,
                waiting=len(cause.waiting),
                next_try_seconds=max(0.0, cause.next_try - now),
            )


def _stream(stream: str, segments: list[Segment], rates: tuple[float, float]) -> StreamFigures:
    oldest = min((segment.created_at for segment in segments), default=None)
    partitioned = (segment for segment in segments if segment.partition != stream)
    fullest = heapq.nlargest(MAX_PARTITIONS_SHOWN, partitioned, key=lambda s: s.reserved_size)
    return StreamFigures(
        stream=stream,
        open_segments=len(segments),
        open_payloads=sum(segment.reserved_lines for segment in segments),
        open_size=sum(segment.reserved_size for segment in segments),
        open_since=None if oldest is None else _since(oldest),
        payloads_per_second=rates[0],
        bytes_per_second=rates[1],
        partitions=[
            PartitionFigures(
                values=values_of(segment.partition),
                open_payloads=segment.reserved_lines,
                open_size=segment.reserved_size,
                open_since=_since(segment.created_at),
            )
            for segment in fullest
        ],
    )


def _since(monotonic: float) -> float:
    return time.time() - (time.monotonic() - monotonic)
