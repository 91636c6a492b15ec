"""Admission: takes collections into open segments, or refuses them whole. Knows no S3 and no disk.

One lock guards the open segments and every put into the job queue. Blocks only where it says so.
"""

import threading
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from typing import NoReturn

from workers.dispatch.jobs import Job, JobQueue
from workers.errors import Draining, Full, NotDurable, Refusal, TooManyPayloads, UnknownStream
from workers.intake.placement import Piece, cut, fits, is_void
from workers.intake.sealing import Sealing
from workers.segments.future import Callback, DurabilityFuture, Run
from workers.segments.naming import Clock, object_key, segment_name
from workers.segments.ratios import Estimator, Profile, Sizes
from workers.segments.segment import RUN_BYTES, SEGMENT_BYTES, Header, Segment
from workers.settings import Settings
from workers.spool.counters import Counters, Field
from workers.stores.committer import Journal
from workers.stores.store import Store

# Lines that wait for the disk are in memory: a disk that stands still must not fill that.
MAX_WAITING_BYTES = 32 << 20


def _never(bucket: str, stream: str) -> bool:
    del bucket, stream
    return False


class Intake:
    """The way in: one collection at a time, all or nothing."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        counters: Counters,
        jobs: JobQueue,
        committer: Journal,
        estimator: Estimator,
        is_held_up: Callable[[str, str], bool] = _never,
    ) -> None:
        self._settings = settings
        self._store = store
        self._counters = counters
        self._max_jobs = jobs.maxsize
        self._max_lines = settings.object_max_payloads
        self._committer = committer
        self._estimator = estimator
        self._clock = Clock()
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._closed = False
        self._failure = ""
        self._woken = False
        self._uses = 0
        self._sealing = Sealing(
            settings,
            store=store,
            jobs=jobs,
            committer=committer,
            counters=counters,
            is_held_up=is_held_up,
        )
        self._open = self._sealing.open

    def take(
        self, stream: str, lines: bytes, *, count: int, callback: Callback | None = None
    ) -> DurabilityFuture:
        """Take one collection, all or nothing. Its future is done once it is safe.

        `lines` are `count` payloads, each ended by a newline. Does not block. `callback` is called
        then, now or in the committer's thread; no lock is held.

        Raises:
            TooManyPayloads, UnknownStream, Full, Draining, NotDurable: nothing of it was kept.
        """
        profile = self._estimator.profile(stream, lines)
        with self._lock:
            refusal = self._refusal()
            if refusal is not None:
                raise refusal
            runs, replaced = self._place(stream, lines, count, profile)
            future = self._committer.append(runs, callback)
            # Sealed only now: a segment's seal must not overtake its lines.
            for segment in replaced:
                self._sealing.seal(segment)
            self._sealing.seal_full(runs[-1].segment)
        if self._committer.is_inline:
            future.set_result()
        return future

    def refusal(self) -> str | None:
        """Say why a small collection would be refused now, or None: what readiness asks."""
        with self._lock:
            refusal = self._refusal()
            if refusal is not None:
                return str(refusal)
            if not self._store.has_room(SEGMENT_BYTES):
                return "the byte budget is used up"
            if self._sealing.room() > 0:
                return None
            if any(map(self._sealing.is_full, self._open.values())):
                return "the queue and an open segment are full"
            if len(self._open) >= self._settings.max_streams:
                return f"the queue is full and {len(self._open)} streams are open already"
            return None

    def seal_due(self) -> float | None:
        """Seal what is full or old enough, oldest first, while the queue has room.

        Returns:
            Seconds until the next segment is old enough; None when nothing waits for time alone.
        """
        with self._lock:
            return None if self._closed else self._sealing.seal_due(time.monotonic())

    def wait_due(self, seconds: float | None) -> None:
        """Block until `wake`, for some seconds at most; a wake since the last call counts."""
        with self._wake:
            self._wake.wait_for(lambda: self._woken, seconds)
            self._woken = False

    def wake(self) -> None:
        """End `wait_due`: there is room in the queue, or something new to wait for."""
        with self._wake:
            self._woken = True
            self._wake.notify_all()

    def on_room(self) -> None:
        """Take note that a job left the queue; wakes the sealer only if something waits for it."""
        self._sealing.show_depth()
        if self._sealing.starved:
            self.wake()

    def wants_backlog(self) -> bool:
        """Whether a job of the backlog may come now; the two take turns in a full queue."""
        return self._sealing.wants_backlog()

    def offer(self, job: Job) -> bool:
        """Put a job of the backlog into the queue; False if there is no room."""
        with self._lock:
            return self._sealing.offer(job)

    def backlog_is_served(self) -> None:
        """Take note that the backlog has no job to offer now."""
        with self._lock:
            self._sealing.backlog_is_served()

    def close(self) -> None:
        """Refuse everything from now on and end `wait_due`."""
        with self._wake:
            self._closed = self._woken = True
            self._wake.notify_all()

    def fail(self, reason: str) -> None:
        """Refuse everything from now on: nothing makes it durable any more."""
        with self._lock:
            self._closed, self._failure = True, reason

    def freeze_all(self) -> list[Job]:
        """After `close`: let nothing more into any segment; return those that are no jobs yet."""
        with self._lock:
            ended = [self._sealing.end(segment) for segment in list(self._open.values())]
            return [job for job in ended if job is not None]

    def _refusal(self) -> Refusal | None:
        """Return why nothing at all is taken now, however small; None if something is."""
        if self._closed:
            return NotDurable(self._failure) if self._failure else Draining("stopping")
        if self._store.refusal:
            return NotDurable(self._store.refusal)
        if self._committer.waiting_bytes > MAX_WAITING_BYTES:
            return Full("the disk is behind")
        return None

    def _place(
        self, stream: str, lines: bytes, count: int, profile: Profile | None
    ) -> tuple[list[Run], list[Segment]]:
        """Reserve room for a whole collection, or raise with nothing reserved.

        Returns:
            The runs it is cut into, and the segments that make way and are to be sealed.
        """
        segment = self._open.get(stream)
        sizes = profile.sizes(0, len(lines)) if profile else None
        if segment is not None and (
            fits(segment, len(lines) if sizes is None else 0, count, self._max_lines)
            and (sizes is None or self._estimator.fits(segment, sizes))
        ):
            if not self._store.has_room(len(lines) + RUN_BYTES):
                self._refuse_budget()
            return [self._reserve(segment, lines, count, sizes)], []
        if segment is not None and is_void(segment):
            self._sealing.seal(segment)
            segment = None
        if segment is None:
            self._check_stream(stream)
        pieces = self._cut(lines, count, profile)
        size = len(lines) + len(pieces) * (RUN_BYTES + SEGMENT_BYTES)
        if not pieces or len(pieces) > self._max_jobs + 1 or size > self._store.max_bytes // 2:
            raise TooManyPayloads(f"{count} payloads ({len(lines)} bytes) never fit at once")
        if len(pieces) - (segment is None) > self._sealing.room():
            raise Full("the queue is full")
        if not self._store.has_room(size):
            self._refuse_budget()
        if segment is None and len(self._open) >= self._settings.max_streams:
            self._make_way(len(pieces))
        runs = []
        start = 0
        for part, n in pieces:
            sizes = profile.sizes(start, start + len(part)) if profile else None
            runs.append(self._reserve(self._open_segment(stream), part, n, sizes))
            start += len(part)
        passed = [run.segment for run in runs[:-1]]
        return runs, [segment, *passed] if segment is not None else passed

    def _check_stream(self, stream: str) -> None:
        """Refuse a stream that the operator does not allow; one that is open is allowed."""
        if not any(fnmatchcase(stream, pattern) for pattern in self._settings.streams):
            raise UnknownStream(f"this service takes no stream {stream}")

    def _make_way(self, pieces: int) -> None:
        """Seal the segment that was used least lately: one more stream is to be opened."""
        if pieces > self._sealing.room() or not self._sealing.seal_least_used():
            raise Full(f"the queue is full and {len(self._open)} streams are open already")

    def _cut(self, lines: bytes, count: int, profile: Profile | None) -> list[Piece]:
        max_lines = self._settings.object_max_payloads
        if count > max_lines * (self._max_jobs + 1):
            return []
        reach = partial(self._estimator.reach, profile)
        return cut(lines, count, reach=reach, max_lines=max_lines)

    def _open_segment(self, stream: str) -> Segment:
        name = segment_name(self._clock.tick())
        header = Header(
            name=name,
            stream=stream,
            bucket=self._settings.s3_bucket,
            key=object_key(self._settings.key_template, stream=stream, name=name),
            compression=self._settings.compression,
        )
        segment = self._store.create(header)
        self._estimator.open(segment)
        self._open[stream] = segment
        if len(self._open) == 1:
            self._woken = True
            self._wake.notify_all()
        return segment

    def _reserve(self, segment: Segment, lines: bytes, count: int, sizes: Sizes | None) -> Run:
        held = len(lines) + RUN_BYTES + (0 if segment.reserved_lines else SEGMENT_BYTES)
        run = Run(segment, segment.reserved_lines + 1, lines, count)
        segment.last_use = self._uses = self._uses + 1
        segment.reserved_lines += count
        segment.reserved_size += len(lines)
        if sizes is not None:
            self._estimator.add(segment, sizes)
        elif segment.reserved_size >= segment.sample_at:
            self._estimator.sample(segment, lines)
        segment.held_bytes += held
        self._counters.add(Field.HELD_BYTES, held)
        return run

    def _refuse_budget(self) -> NoReturn:
        self._sealing.seal_largest()
        raise Full("the byte budget is used up")
