"""Admission: takes collections into open segments, or refuses them whole. Knows no S3 and no disk.

One lock guards the open segments and every put into the job queue. Blocks only where it says so.
"""

import threading
import time
from collections.abc import Callable, Collection, Sequence

from workers.dispatch.jobs import Job, JobQueue
from workers.errors import Draining, Full, NotDurable, Refusal
from workers.intake.placing import Placing
from workers.intake.sealing import Sealing
from workers.segments.finish import Finish, Finishes, Wait
from workers.segments.future import Callback, DurabilityFuture, KeyClaim, Run
from workers.segments.naming import named_from
from workers.segments.partitions import Part
from workers.segments.ratios import Estimator, Profile
from workers.segments.segment import SEGMENT_BYTES, Segment
from workers.settings.settings import Settings
from workers.spool.counters import Counters
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
        finishes: Finishes,
        is_held_up: Callable[[str, str], bool] = _never,
    ) -> None:
        self._settings = settings
        self._store = store
        self._committer = committer
        self._estimator = estimator
        self._finishes = finishes
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._closed = False
        self._failure = ""
        self._woken = False
        self._sealing = Sealing(
            settings,
            store=store,
            jobs=jobs,
            committer=committer,
            counters=counters,
            is_held_up=is_held_up,
        )
        self._open = self._sealing.open
        self._placing = Placing(
            settings,
            store=store,
            counters=counters,
            sealing=self._sealing,
            estimator=estimator,
            max_jobs=jobs.maxsize,
            on_first=self._wake_sealer,
        )

    def take(
        self,
        partition: str,
        lines: bytes,
        *,
        count: int,
        callback: Callback | None = None,
        claim: KeyClaim | None = None,
    ) -> DurabilityFuture:
        """Take one collection, all or nothing. Its future is done once it is safe.

        `partition` is the stream's name where the key template has no field of a payload. `lines`
        are `count` payloads, each ended by a newline. Does not block. `callback` is called then,
        now or in the committer's thread; no lock is held. `claim` is on the collection's key.

        Raises:
            TooManyPayloads, UnknownStream, Full, Draining, NotDurable: nothing of it was kept.
        """
        profile = self._estimator.profile(partition, lines)
        with self._lock:
            refusal = self._refusal()
            if refusal is not None:
                raise refusal
            run = self._placing.join(partition, lines, count, profile)
            if run is not None:
                future = self._committer.append([run], callback, claim=claim)
                self._sealing.seal_full(run.segment)
            else:
                parts = [Part(partition, lines, count)]
                future = self._append(parts, [profile], callback, claim)
        if self._committer.is_inline:
            future.set_result()
        return future

    def take_parts(
        self,
        parts: Sequence[Part],
        *,
        callback: Callback | None = None,
        claim: KeyClaim | None = None,
        wait: Wait | None = None,
    ) -> DurabilityFuture:
        """Take one collection that may go to several partitions, each of `parts` to one of its own.

        All or nothing; else as `take`. `wait` ends when all of it is stored, or before; its
        segments are sealed soon.
        """
        if wait is None and len(parts) == 1 and parts[0].indexes is None:
            part = parts[0]
            return self.take(
                part.partition, part.lines, count=part.count, callback=callback, claim=claim
            )
        profiles = [self._estimator.profile(part.partition, part.lines) for part in parts]
        with self._lock:
            refusal = self._refusal()
            if refusal is not None:
                raise refusal
            future = self._append(parts, profiles, callback, claim, wait)
        if wait is not None and not wait.deadline:
            wait.end(Finish.NOT_AWAITED)
        if self._committer.is_inline:
            future.set_result()
        return future

    def hasten(self, names: Collection[str]) -> None:
        """Have open segments of these names sealed soon: requests wait for their objects."""
        with self._lock:
            now = time.monotonic()
            waited_for = [each for each in self._open.values() if each.name in names]
            hastened = [self._sealing.hasten(segment, now) for segment in waited_for]
            if any(hastened):
                self._wake_sealer()

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

    def open_segments(self) -> list[Segment]:
        """Return the segments that are open now. Takes no lock: they go on changing."""
        return list(self._open.values())

    def ended(self) -> dict[str, tuple[int, int]]:
        """Return the lines and bytes that ended segments took in, by stream. Takes no lock."""
        return self._sealing.ended.copy()

    def opened_from(self) -> int:
        """Return a time before which no segment is created any more, in microseconds since 1970.

        A segment is named and held under the lock: what was named before is held by now.
        """
        with self._lock:
            return named_from()

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

    def _wake_sealer(self) -> None:
        """Let the sealer look when the next segment is old enough; the lock is held."""
        self._woken = True
        self._wake.notify_all()

    def _append(
        self,
        parts: Sequence[Part],
        profiles: Sequence[Profile | None],
        callback: Callback | None,
        claim: KeyClaim | None = None,
        wait: Wait | None = None,
    ) -> DurabilityFuture:
        runs, replaced = self._placing.place(parts, profiles)
        if wait is not None:
            # Before the lines are on their way: none of the segments can be finished yet.
            self._begin_wait(wait, runs)
        future = self._committer.append(runs, callback, claim=claim)
        # Sealed only now: a segment's seal must not overtake its lines.
        for segment in replaced:
            self._sealing.seal(segment)
        for run in runs:
            if not run.segment.sealed:
                self._sealing.seal_full(run.segment)
        return future

    def _begin_wait(self, wait: Wait, runs: Sequence[Run]) -> None:
        if self._finishes.add(wait, [run.segment.name for run in runs]):
            now = time.monotonic()
            hastened = [self._sealing.hasten(run.segment, now) for run in runs]
            if any(hastened):
                self._wake_sealer()
