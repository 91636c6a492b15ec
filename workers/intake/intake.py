"""Hands collections into open segments, and full or old segments to the job queue.

One lock, and every put into the job queue under it: whoever holds it can see how much room there
is and knows that it will not get less. Blocks only where it says so.
"""

import threading
import time
from collections.abc import Callable

from workers.dispatch.jobs import Job, JobQueue
from workers.errors import Draining, Full, NotDurable, Refusal, TooManyPayloads
from workers.segments.future import DurabilityFuture, Run
from workers.segments.naming import Clock, object_key, segment_name
from workers.segments.ratios import Ratios
from workers.segments.segment import (
    RUN_BYTES,
    SEGMENT_BYTES,
    Body,
    Header,
    Receipt,
    Segment,
)
from workers.settings import Settings
from workers.spool.committer import Journal
from workers.spool.counters import Field
from workers.spool.process_spool import ProcessSpool

# Lines that wait for the disk are in memory: a disk that stands still must not fill that.
MAX_WAITING_BYTES = 32 << 20
# A segment this near to its target is full: within 10 % of it either way, half of that to spare.
FULL_ENOUGH = 0.95


class Intake:
    """The open segments, one per stream, and the way into the job queue."""

    def __init__(
        self,
        settings: Settings,
        *,
        process_spool: ProcessSpool,
        jobs: JobQueue,
        committer: Journal,
        new_body: Callable[[str], Body],
        ratios: Ratios,
    ) -> None:
        self._settings = settings
        self._process_spool = process_spool
        self._jobs = jobs
        self._committer = committer
        self._new_body = new_body
        self._ratios = ratios
        self._clock = Clock()
        self._open: dict[str, Segment] = {}
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._closed = False
        self._woken = False
        # Somebody has a job to put as soon as there is room for it.
        self._starved = False
        # Bytes that other processes hold of the budget; the sealer keeps it fresh.
        self.held_elsewhere = 0
        in_memory = settings.durability == "memory"
        self._budget = settings.memory_max_bytes if in_memory else settings.spool_max_bytes
        # A quarter each, so that one segment fills while others are on their way.
        self._largest_size = max(1, self._budget // 4)

    def take(self, stream: str, lines: bytes, *, count: int) -> DurabilityFuture:
        """Take one collection, all or nothing. Its ticket is settled once it is safe.

        `lines` are `count` payloads, each ended by a newline. Does not block.

        Raises:
            TooManyPayloads, Full, Draining, NotDurable: nothing of it was kept.
        """
        with self._lock:
            refusal = self._refusal()
            if refusal is not None:
                raise refusal
            runs, replaced = self._place(stream, lines, count)
            future = self._committer.append(runs)
            # Sealed only now: a segment's seal must not overtake its lines.
            for segment in replaced:
                self._seal(segment)
            self._seal_full(runs[-1].segment)
        return future

    def accept(self, stream: str, lines: bytes, *, count: int) -> list[Receipt]:
        """Take one collection and block until it is as safe as promised; return its receipts.

        Raises:
            TooManyPayloads, Full, Draining, NotDurable: nothing of it was kept.
        """
        future = self.take(stream, lines, count=count)
        return future.result()

    def refusal(self) -> str | None:
        """Say why a small collection would be refused now, or None: what readiness asks."""
        with self._lock:
            refusal = self._refusal()
            if refusal is not None:
                return str(refusal)
            if not self._fits_budget(SEGMENT_BYTES):
                return "the byte budget is used up"
            if not self._room() and any(map(self._is_full, self._open.values())):
                return "the queue and an open segment are full"
            return None

    def seal_due(self) -> float | None:
        """Seal what is full or old enough, oldest first, while the queue has room.

        Returns:
            Seconds until the next segment is old enough; None when nothing waits for time alone.
        """
        with self._lock:
            return None if self._closed else self._seal_due(time.monotonic())

    def wait_due(self, seconds: float | None) -> None:
        """Block until `wake`, for some seconds at most; a wake since the last call counts."""
        with self._wake:
            self._wake.wait_for(lambda: self._woken or self._closed, seconds)
            self._woken = False

    def wake(self) -> None:
        """End `wait_due`: there is room in the queue, or something new to wait for."""
        with self._wake:
            self._woken = True
            self._wake.notify_all()

    def on_room(self) -> None:
        """Take note that a job left the queue; wakes the sealer only if that helps anyone."""
        self._process_spool.counters[Field.QUEUE_DEPTH] = self._jobs.qsize()
        if self._starved:
            self.wake()

    def wants_adopted(self) -> bool:
        """Whether the queue is less than half full.

        The other half is for what comes in now: a backlog must not shut the front door.
        """
        wanted = not self._closed and self._jobs.qsize() <= (self._jobs.maxsize - 1) // 2
        self._starved |= not wanted
        return wanted

    def offer(self, job: Job) -> bool:
        """Put an adopted job into the queue, or return False: there is no room after all."""
        with self._lock:
            if self._closed or not self._room():
                return False
            self._put(job)
            return True

    def close(self) -> None:
        """Refuse everything from now on and end `wait_due`."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()

    def freeze_all(self) -> list[Job]:
        """After `close`: let nothing more into any segment; return those that are no jobs yet."""
        with self._lock:
            return [self._freeze(segment) for segment in list(self._open.values())]

    def _refusal(self) -> Refusal | None:
        """Return why nothing at all is taken now, however small; None if something is."""
        if self._closed:
            return Draining("stopping")
        if self._committer.broken:
            return NotDurable(self._committer.broken)
        if self._committer.waiting_bytes > MAX_WAITING_BYTES:
            return Full("the disk is behind")
        return None

    def _place(self, stream: str, lines: bytes, count: int) -> tuple[list[Run], list[Segment]]:
        """Reserve room for a whole collection, or raise with nothing changed.

        Returns:
            The runs it is cut into, and the segments that make way and are to be sealed.
        """
        segment = self._open.get(stream)
        if segment is not None and self._fits(segment, len(lines), count):
            self._check_budget(len(lines) + RUN_BYTES)
            return [self._reserve(segment, lines, count)], []
        most = self._settings.object_max_payloads * (self._jobs.maxsize + 1)
        pieces = self._split(stream, lines, count) if count <= most else []
        size = len(lines) + len(pieces) * (RUN_BYTES + SEGMENT_BYTES)
        if not pieces or len(pieces) > self._jobs.maxsize + 1 or size > self._budget // 2:
            raise TooManyPayloads(f"{count} payloads ({len(lines)} bytes) never fit at once")
        if len(pieces) - (segment is None) > self._room():
            raise Full("the queue is full")
        if segment is None and len(self._open) >= self._settings.max_streams:
            raise Full(f"{len(self._open)} streams are open already")
        self._check_budget(size)
        runs = [self._reserve(self._open_segment(stream), part, n) for part, n in pieces]
        passed = [run.segment for run in runs[:-1]]
        return runs, [segment, *passed] if segment is not None else passed

    def _fits(self, segment: Segment, size: int, count: int) -> bool:
        return (
            not segment.write_failed
            and segment.reserved_lines + count <= self._settings.object_max_payloads
            and segment.reserved_size + size <= segment.target_size
        )

    def _is_full(self, segment: Segment) -> bool:
        return (
            segment.write_failed
            or segment.reserved_lines >= self._settings.object_max_payloads
            or segment.reserved_size >= segment.target_size * FULL_ENOUGH
        )

    def _target(self, stream: str) -> float:
        """Return the uncompressed size whose object will be as large as the settings say."""
        return min(self._settings.object_target_bytes * self._ratios[stream], self._largest_size)

    def _split(self, stream: str, lines: bytes, count: int) -> list[tuple[bytes, int]]:
        """Cut a collection into what a segment may hold, between payloads."""
        target, most = self._target(stream), self._settings.object_max_payloads
        if count <= most and len(lines) <= target:
            return [(lines, count)]
        pieces: list[tuple[bytes, int]] = []
        start = 0
        while start < len(lines):
            end = lines.rfind(b"\n", start, start + int(target)) + 1
            if not end:
                end = lines.index(b"\n", start) + 1
            n = lines.count(b"\n", start, end)
            if n > most:
                end, n = start, most
                for _ in range(most):
                    end = lines.index(b"\n", end) + 1
            pieces.append((lines[start:end], n))
            start = end
        return pieces

    def _open_segment(self, stream: str) -> Segment:
        name = segment_name(self._clock.tick())
        header = Header(
            name=name,
            stream=stream,
            bucket=self._settings.s3_bucket,
            key=object_key(self._settings.key_template, stream=stream, name=name),
            compression=self._settings.compression,
        )
        segment = Segment(header, self._new_body(name), target_size=self._target(stream))
        self._open[stream] = segment
        self._process_spool.hold(segment)
        if len(self._open) == 1:
            self._woken = True
            self._wake.notify_all()
        return segment

    def _reserve(self, segment: Segment, lines: bytes, count: int) -> Run:
        held = len(lines) + RUN_BYTES + (0 if segment.reserved_lines else SEGMENT_BYTES)
        run = Run(segment, segment.reserved_lines + 1, lines, count)
        segment.reserved_lines += count
        segment.reserved_size += len(lines)
        segment.held_bytes += held
        self._process_spool.counters.add(Field.HELD_BYTES, held)
        return run

    def _check_budget(self, size: int) -> None:
        if not self._fits_budget(size):
            self._seal_largest()
            raise Full("the byte budget is used up")

    def _fits_budget(self, size: int) -> bool:
        held = self._process_spool.counters[Field.HELD_BYTES] + self.held_elsewhere
        return held + size <= self._budget

    def _room(self) -> int:
        return self._jobs.maxsize - self._jobs.qsize()

    def _put(self, job: Job) -> None:
        self._jobs.put_nowait(job)
        self._process_spool.counters[Field.QUEUE_DEPTH] = self._jobs.qsize()

    def _freeze(self, segment: Segment) -> Job:
        """Let nothing more into a segment: from here on it is a job."""
        if self._open.get(segment.header.stream) is segment:
            del self._open[segment.header.stream]
        segment.sealed = True
        self._committer.seal(segment)
        return Job(segment, self._process_spool)

    def _seal(self, segment: Segment) -> None:
        self._put(self._freeze(segment))

    def _seal_full(self, segment: Segment) -> None:
        if self._is_full(segment):
            if self._room():
                self._seal(segment)
            else:
                self._starved = True

    def _seal_due(self, now: float) -> float | None:
        next_due: float | None = None
        self._starved = False
        for segment in sorted(self._open.values(), key=lambda segment: segment.created_at):
            left = segment.created_at + self._settings.object_max_age_seconds - now
            if left > 0 and not self._is_full(segment):
                next_due = left if next_due is None else next_due
            elif self._room():
                self._seal(segment)
            else:
                self._starved = True
        return next_due

    def _seal_largest(self) -> None:
        """Make room: with the budget used up, waiting for age would only refuse for longer."""
        if self._open and self._room() > self._jobs.maxsize // 2:
            self._seal(max(self._open.values(), key=lambda segment: segment.held_bytes))
