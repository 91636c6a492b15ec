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
from typing import Any

from workers.dispatch.backoff import Backoff
from workers.dispatch.dispatcher import Dispatcher
from workers.dispatch.jobs import Job, JobQueue, Pool
from workers.dispatch.worker import Worker
from workers.intake.intake import Intake
from workers.operate.receipts import Receipts
from workers.segments.future import DurabilityFuture
from workers.segments.ratios import Ratios
from workers.segments.segment import MemoryBody, Receipt, Segment
from workers.settings import Settings
from workers.spool.adoption import LOOK_SECONDS, Adoption
from workers.spool.committer import Committer, Journal, MemoryCommitter
from workers.spool.counters import Field, Totals
from workers.spool.spool import Spool
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
        self.spool.prepare()
        self.process_spool = self.spool.create_process_spool()
        durable = settings.durability == "disk"
        self.process_spool.counters[Field.DURABLE] = durable
        self.process_spool.counters.flush()
        self._jobs: JobQueue = queue.Queue(maxsize=settings.max_queue)
        self._idle: Pool = queue.SimpleQueue()
        self._committer: Journal
        if durable:
            sync_all = self.process_spool.sync_all if self.spool.disk.syncs_everything else None
            self._committer = Committer(self.process_spool.counters, sync_all=sync_all)
        else:
            self._committer = MemoryCommitter(self.process_spool.counters)
        self._backoff = Backoff()
        self._finished: deque[float] = deque(maxlen=32)
        ratios = Ratios(most=settings.max_streams)
        self._intake = Intake(
            settings,
            process_spool=self.process_spool,
            jobs=self._jobs,
            committer=self._committer,
            new_body=self.process_spool.new_file if durable else lambda _: MemoryBody(),
            ratios=ratios,
        )
        self._adoption = Adoption(self.spool, self._intake)
        uploader = Uploader(
            bucket,
            spool=self.spool,
            ratios=ratios,
            memory_bytes=settings.object_target_bytes * 3 // 2,
            on_done=lambda: self._finished.append(time.monotonic()),
        )
        self._workers = [
            Worker(
                idle=self._idle,
                upload=uploader.upload,
                backoff=self._backoff,
                on_idle=lambda change: self.process_spool.counters.add(Field.IDLE_WORKERS, change),
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

    def accept(self, stream: str, lines: bytes, *, count: int) -> list[Receipt]:
        """Take one collection of `count` lines; blocks until it is as safe as promised.

        Raises:
            Refusal: one of its kinds; nothing of the collection was kept.
        """
        return self._intake.accept(stream, lines, count=count)

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
        self._keep_in_spool()
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
        self._keep_in_spool()
        self._release_process_spools()

    def _keep_in_spool(self) -> None:
        for segment in self.process_spool.unfinished():
            try:
                self.process_spool.keep(segment)
            except OSError:
                about = {"segment": segment.name, "payloads": segment.lines}
                log.exception("payloads cannot be written down", extra=about)
        self.spool.disk.sync_directory(self.process_spool.path)

    def _release_process_spools(self) -> None:
        rest = self.process_spool.unfinished()
        # What dead processes left counts too: after this one it is nobody's again.
        left = sum(
            process_spool.counters.pending
            for process_spool in [self.process_spool, *self._adoption.process_spools]
        )
        log.log(logging.WARNING if left else logging.INFO, "stopped", extra={"left_on_disk": left})
        if any(thread.is_alive() for thread in self._threads):
            # A PUT still hangs; its worker may yet count. The kernel frees the locks after us.
            return
        self._adoption.close()
        if rest:
            self.process_spool.close()
        else:
            self.spool.retire(self.process_spool)

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
                # The spool's bound is shared by all processes; memory is each one's own.
                if self.settings.durability == "disk" and time.monotonic() >= refresh_at:
                    # Ours first: rather too much elsewhere, for a second, than too little.
                    ours = self.process_spool.counters[Field.HELD_BYTES]
                    held = self.spool.totals()[Field.HELD_BYTES]
                    self._intake.held_elsewhere = max(0, held - ours)
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
        process_spools = [self.process_spool, *self._adoption.process_spools]
        return next(
            (found for process_spool in process_spools if (found := process_spool.held(name))), None
        )

    def _about(self) -> dict[str, Any]:
        return {"queued": self._jobs.qsize(), "segments": len(self.process_spool.unfinished())}
