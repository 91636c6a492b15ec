"""The owner: makes every part and every thread, and stops them in order. The app's one way in.

Everything else in this package can be read, and tested, without a thread.
"""

import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from workers.dispatch.backoff import Backoff
from workers.dispatch.dispatcher import Dispatcher
from workers.dispatch.jobs import Job, JobQueue, Pool
from workers.dispatch.worker import Worker
from workers.intake.intake import Intake
from workers.operate.receipts import Receipts
from workers.segments.future import DurabilityFuture
from workers.segments.ratios import Estimator
from workers.segments.segment import Segment
from workers.settings import Settings
from workers.spool.adoption import LOOK_SECONDS, Adoption
from workers.spool.committer import Committer, InlineCommitter, Journal
from workers.spool.counters import Field, Totals
from workers.spool.disk_store import DiskStore
from workers.spool.local_store import LocalStore
from workers.spool.memory_store import MemoryStore
from workers.spool.process_spool import ProcessSpool
from workers.spool.spool import Spool
from workers.upload.compression import compressed_size
from workers.upload.s3 import Bucket
from workers.upload.uploader import Uploader

log = logging.getLogger(__name__)

# At a stop, uploading gets this share of the time; the rest is for writing down what is left.
UPLOAD_SHARE = 0.75
REFRESH_SECONDS = 1.0
MAX_RETRY_AFTER, FIRST_RETRY_AFTER = 60, 5


class Pipeline:
    """One process's pipeline: construct, `start` after the fork, `stop` once.

    Raises (constructor):
        SpoolError: the spool directory cannot be used.
    """

    def __init__(self, settings: Settings, *, bucket: Bucket) -> None:
        self.settings = settings
        self.bucket = bucket
        self.spool = Spool(settings.spool_dir)
        self._store, self._committer = _choose(settings, self.spool)
        self.counters = self._store.counters
        self._jobs: JobQueue = queue.Queue(maxsize=settings.max_queue)
        self._idle: Pool = queue.SimpleQueue()
        self._backoff = Backoff()
        self._finished: deque[float] = deque(maxlen=32)
        estimator = Estimator(
            settings,
            # A quarter of the budget, so that one segment fills while others are on their way.
            max_size=max(1, self._store.max_bytes // 4),
            compressed_size=partial(compressed_size, compression=settings.compression),
        )
        self._intake = Intake(
            settings,
            store=self._store,
            counters=self.counters,
            jobs=self._jobs,
            committer=self._committer,
            estimator=estimator,
        )
        self._adoption = Adoption(self.spool, self._intake)
        uploader = Uploader(
            bucket,
            spool=self.spool,
            estimator=estimator,
            memory_bytes=settings.object_target_bytes * 3 // 2,
            on_done=lambda: self._finished.append(time.monotonic()),
        )
        self._workers = [
            Worker(
                idle=self._idle,
                upload=uploader.upload,
                backoff=self._backoff,
                on_idle=lambda change: self.counters.add(Field.IDLE_WORKERS, change),
            )
            for _ in range(settings.max_workers)
        ]
        self._dispatcher = Dispatcher(
            jobs=self._jobs,
            idle=self._idle,
            workers=settings.max_workers,
            on_room=self._intake.on_room,
        )
        self.receipts = Receipts(settings, bucket=bucket, spool=self.spool, held=self._held)
        self._stopping = threading.Event()
        self._stopped = threading.Lock()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start every thread there will ever be. Returns at once."""
        bodies: dict[str, Callable[[], None]] = {
            **{f"worker-{n}": worker.run for n, worker in enumerate(self._workers, 1)},
            "dispatcher": self._dispatcher.run,
            "sealer": self._seal_and_feed,
            "adopter": self._adopt,
        }
        if isinstance(self._committer, Committer):
            bodies["committer"] = self._committer.run
        for name, body in bodies.items():
            thread = threading.Thread(target=body, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def take(self, stream: str, lines: bytes, *, count: int) -> DurabilityFuture:
        """Take one collection of `count` lines; its ticket is settled once it is safe. No blocking.

        Raises:
            Refusal: one of its kinds; nothing of the collection was kept.
        """
        return self._intake.take(stream, lines, count=count)

    @property
    def process_spool(self) -> ProcessSpool:
        """The process's own directory in the spool.

        Raises:
            SpoolError: it could not be made yet.
        """
        return self._store.directory

    def refusal(self) -> str | None:
        """Say why this process would refuse a collection now, or None."""
        return self._intake.refusal()

    def retry_after(self) -> int:
        """Return whole seconds until half the queue should have drained, at the rate of late.

        The rate counts the time since the last finished jobs, so it falls while nothing finishes.
        """
        finished = self._finished
        if not finished:
            return FIRST_RETRY_AFTER
        rate = len(finished) / max(time.monotonic() - finished[0], 0.001)
        return max(1, min(MAX_RETRY_AFTER, math.ceil((self._jobs.qsize() / 2 + 1) / rate)))

    def totals(self) -> Totals:
        """Return the figures of the whole service, all processes. Blocks on the disk, briefly."""
        return self.spool.totals()

    def stop(self) -> None:
        """Stop in order, within `drain_seconds`. A second call waits for the first, and returns.

        What cannot be uploaded by then stays on the disk and goes up after the next start.
        """
        with self._stopped:
            if not self._stopping.is_set():
                self._stop(time.monotonic() + self.settings.drain_seconds)

    def _stop(self, deadline: float) -> None:
        upload_until = time.monotonic() + self.settings.drain_seconds * UPLOAD_SHARE
        log.info("stopping", extra=self._about())
        # Nothing comes in any more, and nothing but what is here now goes on to the queue.
        self._stopping.set()
        self._intake.close()
        self._join("sealer", upload_until)
        # What is open becomes jobs; the committer ends behind the last collection it was given.
        jobs = self._intake.freeze_all()
        self._committer.stop()
        # Memory becomes disk before anything else: from here on a kill loses nothing.
        self._store.persist()
        for job in jobs:
            self._put(job, upload_until)
        # STOP goes behind the last job. The dispatcher ends there, once every worker is idle.
        stop_is_in = self._put(None, upload_until)
        self._join("dispatcher", upload_until)
        # Whoever still tries gives up; what is queued passes through untouched, up to STOP.
        self._backoff.give_up()
        if not stop_is_in:
            self._put(None, deadline)
        for thread in self._threads:
            self._join(thread.name, deadline)
        self._store.persist()
        self._release_process_spools()

    def _release_process_spools(self) -> None:
        # What dead processes left counts too: after this one it is nobody's again.
        adopted = sum(each.counters.pending for each in self._adoption.process_spools)
        left = self.counters.pending + adopted
        log.log(logging.WARNING if left else logging.INFO, "stopped", extra={"left_on_disk": left})
        if any(thread.is_alive() for thread in self._threads):
            # A PUT still hangs; its worker may yet count. The kernel frees the locks after us.
            return
        self._adoption.close()
        self._store.close()

    def _put(self, job: Job | None, deadline: float) -> bool:
        try:
            self._jobs.put(job, timeout=max(0.0, deadline - time.monotonic()))
        except queue.Full:
            return False
        return True

    def _join(self, name: str, deadline: float) -> None:
        for thread in self._threads:
            if thread.name == name:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _seal_and_feed(self) -> None:
        """Body of the thread `sealer`: age, room and backlog turn into jobs."""
        refresh_at = 0.0
        while not self._stopping.is_set():
            due = self._intake.seal_due()
            try:
                self._adoption.feed()
                if time.monotonic() >= refresh_at:
                    self._store.check()
                    refresh_at = time.monotonic() + REFRESH_SECONDS
            except Exception:
                log.exception("sealer failed; it goes on")
            self._intake.wait_due(REFRESH_SECONDS if due is None else min(due, REFRESH_SECONDS))

    def _adopt(self) -> None:
        """Body of the thread `adopter`: look for dead processes' homes now and then."""
        while not self._stopping.is_set():
            try:
                self._adoption.look(stopping=self._stopping.is_set)
            except Exception:
                log.exception("adopter failed; it goes on")
            self._intake.wake()
            self._stopping.wait(LOOK_SECONDS)

    def _held(self, name: str) -> Segment | None:
        adopted = (each.held(name) for each in self._adoption.process_spools)
        return self._store.find(name) or next((found for found in adopted if found), None)

    def _about(self) -> dict[str, Any]:
        return {"queued": self._jobs.qsize(), "segments": len(self._store.unfinished())}


def _choose(settings: Settings, spool: Spool) -> tuple[LocalStore, Journal]:
    """Make the store that `DURABILITY` asks for, and the committer in front of it."""
    if settings.durability == "memory":
        memory = MemoryStore(spool, max_bytes=settings.memory_max_bytes)
        return memory, InlineCommitter(memory)
    disk = DiskStore(spool, max_bytes=settings.spool_max_bytes)
    return disk, Committer(disk)
