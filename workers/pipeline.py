"""The owner: makes every part and starts every thread. The app's one way in.

Everything else in this package can be read, and tested, without a thread.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial

from workers.dispatch.backlog import Backlog
from workers.dispatch.dispatcher import Dispatcher
from workers.dispatch.jobs import Job, JobQueue, Pool
from workers.dispatch.rate import DrainRate
from workers.dispatch.worker import Worker
from workers.errors import SpoolError
from workers.figures.collector import Collector
from workers.intake.feeder import Feeder
from workers.intake.intake import Intake
from workers.keys.keys import Keys
from workers.operate.receipts import Receipts
from workers.segments.finish import DurableAndFinished, Finish, Finishes
from workers.segments.future import DurabilityFuture, KeyClaim
from workers.segments.partitions import Part
from workers.segments.ratios import Estimator
from workers.settings.settings import Settings
from workers.shutdown import Shutdown
from workers.spool.counters import Field, Totals
from workers.spool.process_spool import ProcessSpool
from workers.spool.spool import Spool
from workers.storage import open_storage
from workers.stores.adopter import Adopter
from workers.stores.awaited import AwaitedParts, await_stored
from workers.stores.found import Found, found_in_memory
from workers.stores.local_store import LocalStore
from workers.threads import Threads
from workers.upload.compression import estimator_for
from workers.upload.s3 import Bucket
from workers.upload.uploader import Uploader
from workers.watermarks.opening import make_watermark
from workers.watermarks.watermark import Watermark

log = logging.getLogger(__name__)

# Requests that wait for S3; more are answered without. One takes about 8 KiB, and its client may
# be gone.
MAX_WAITS = 1024


class Pipeline:
    """One process's pipeline: construct, `start` after the fork, `stop` once.

    Where the process cannot have its directory in the spool it runs all the same: it refuses, and
    tries again.
    """

    def __init__(self, settings: Settings, *, bucket: Bucket) -> None:
        self.settings, self.bucket = settings, bucket
        self.spool = Spool(settings.spool_dir)
        self._storage = open_storage(settings, bucket=bucket)
        self._store, self._committer = self._storage.store, self._storage.committer
        self._source = self._storage.source
        self.counters = self._store.counters
        self._jobs, self._idle = JobQueue(maxsize=settings.max_queue), Pool()
        self._rate = DrainRate()
        estimator = estimator_for(settings, self._store)
        # Of a shared store another machine's workers finish what is taken here.
        self._finishes = Finishes(limit=0 if self._store.is_shared else MAX_WAITS)
        self._backlog = self._make_backlog()
        self._intake = self._make_intake(estimator)
        # The way in, without a call of its own; neither blocks.
        self.take, self.take_parts = self._intake.take, self._intake.take_parts
        self._watermark = self._make_watermark()
        self._adopter = Adopter(self._source, on_look=self._wake)
        self.keys = self._storage.keys
        if isinstance(self.keys, Keys):
            self.keys.on_unrecovered = self._adopter.look_now
        self._workers: list[Worker] = []
        self.figures = self._make_figures()
        self._feeder = Feeder(
            intake=self._intake,
            backlog=self._backlog,
            source=self._source,
            store=self._store,
            jobs=self._jobs,
            publish=(lambda: None) if self.figures.has_thread else self.figures.publish,
        )
        self._workers += self._make_workers(estimator)
        self._dispatcher = self._make_dispatcher()
        self.receipts = self._make_receipts()
        self._threads = Threads(on_fault=self._on_fault)
        self._stopping = threading.Event()
        self._stopped = threading.Lock()

    def start(self) -> None:
        """Start every thread there will ever be. Returns at once."""
        bodies: dict[str, Callable[[], None]] = {
            "sealer": self._feeder.run,
            "timer": self._finishes.run,
        }
        # Another tier's processes upload, where this one only accepts.
        if self.settings.role != "web":
            for number, worker in enumerate(self._workers, 1):
                bodies[f"worker-{number}"] = worker.run
            bodies |= {"dispatcher": self._dispatcher.run, "adopter": self._adopter.run}
        if not self._committer.is_inline:
            bodies["committer"] = self._committer.run
        if self.figures.has_thread:
            bodies["figures"] = partial(self.figures.run, self._threads.watchers_end.wait)
        if self._watermark is not None:
            bodies["watermark"] = partial(self._watermark.run, self._stopping.wait)
        self._threads.start(bodies)

    def take_and_wait(
        self,
        parts: Sequence[Part],
        *,
        seconds: float,
        callback: Callable[[DurabilityFuture, Finish], None],
        claim: KeyClaim | None = None,
    ) -> DurabilityFuture:
        """Take one collection, and wait until all of it is stored, for some seconds; no blocking.

        `callback` is called once, when it is durable and the wait has ended, or when it turns out
        not to be durable; now or in another thread: it must be quick. Its segments are sealed after
        `stored_max_wait_seconds`, if the queue has room.

        Raises:
            Refusal: as for `take`.
        """
        both = DurableAndFinished(self._finishes, seconds=seconds, callback=callback)
        return self.take_parts(parts, callback=both.on_durable, claim=claim, wait=both.wait)

    def await_stored(
        self, names: Collection[str], *, seconds: float, callback: Callable[[Finish], None]
    ) -> None:
        """Wait until segments accepted before are stored; see `workers.stores.awaited`."""
        parts = AwaitedParts(self._finishes, look=self._look, hasten=self._intake.hasten)
        await_stored(parts, names, seconds=seconds, callback=callback)

    def end_waits(self) -> None:
        """Let no response wait for S3 from now on, as a stop has come. Does not block."""
        self._finishes.close()

    @property
    def process_spool(self) -> ProcessSpool:
        """The process's own directory in the spool.

        Raises:
            SpoolError: it has none, or could not make it yet.
        """
        if not isinstance(self._store, LocalStore):
            raise SpoolError("segments are not on this machine")
        return self._store.directory

    def refusal(self) -> str | None:
        """Say why this process would refuse a collection now, or is not well; or None."""
        return self._intake.refusal() or self._threads.fault

    def doubt(self) -> str | None:
        """Say what may weaken the promise of a 202 here; or None."""
        return self._store.doubt

    def retry_after(self) -> int:
        """Return whole seconds until half the queue should have drained, at the recent rate."""
        return self._rate.retry_after(self._jobs.qsize())

    def totals(self) -> Totals:
        """Return the sums of all processes. Blocks on the disk, briefly."""
        return self._store.totals()

    def adopt_now(self) -> None:
        """Look for jobs of other processes soon, and not only when the time comes. No blocking."""
        self._adopter.look_now()

    def stop(self) -> None:
        """Stop in order, within `drain_seconds`. A second call waits for the first, and returns.

        What cannot be uploaded by then stays on the disk and goes up after the next start.
        """
        with self._stopped:
            if self._stopping.is_set():
                return
            self._threads.let_end()
            self._stopping.set()
            self._finishes.end()
            deadline = time.monotonic() + self.settings.drain_seconds
            self._storage.end_by(deadline)
            self._adopter.end()
            Shutdown(
                intake=self._intake,
                committer=self._committer,
                store=self._store,
                jobs=self._jobs,
                backlog=self._backlog,
                feeder=self._feeder,
                source=self._source,
                figures=self.figures,
                threads=self._threads,
            ).run(self.settings.drain_seconds)
            if not self._threads.alive and self._watermark is not None:
                self._threads.start({"last-watermark": self._watermark.finish})
                self._threads.join("last-watermark", deadline=deadline)

    def _make_backlog(self) -> Backlog:
        return Backlog(park=self._store.park, on_change=self._wake, delay=self._storage.delay)

    def _make_watermark(self) -> Watermark | None:
        return make_watermark(
            self.settings,
            bucket=self.bucket,
            store=self._store,
            adoption=self._storage.adoption,
            progress=self._storage.progress,
            opened_from=self._intake.opened_from,
        )

    def _make_receipts(self) -> Receipts:
        return Receipts(
            self.settings, bucket=self.bucket, look=self._look, decisions=self._storage.decisions
        )

    def _make_figures(self) -> Collector:
        return Collector(
            self._storage.figures,
            role=self.settings.role,
            workers=self._workers,
            intake=self._intake,
            backlog=self._backlog,
            jobs=self._jobs,
        )

    def _make_intake(self, estimator: Estimator) -> Intake:
        return Intake(
            self.settings,
            store=self._store,
            counters=self.counters,
            jobs=self._jobs,
            committer=self._committer,
            estimator=estimator,
            finishes=self._finishes,
            is_held_up=self._backlog.is_held_up,
        )

    def _make_dispatcher(self) -> Dispatcher:
        return Dispatcher(
            jobs=self._jobs,
            idle=self._idle,
            workers=self.settings.max_workers,
            on_room=self._intake.on_room,
        )

    def _make_workers(self, estimator: Estimator) -> list[Worker]:
        uploader = Uploader(
            self.bucket,
            store=self._store,
            bucket_for=self._storage.bucket_for,
            estimator=estimator,
            memory_bytes=self.settings.object_target_bytes * 3 // 2,
            on_done=self._on_done,
            on_stored=self.figures.stored,
        )
        return [
            Worker(
                idle=self._idle,
                upload=uploader.upload,
                backlog=self._backlog,
                on_idle=lambda change: self.counters.add(Field.IDLE_WORKERS, change),
                on_settled=self._on_settled,
            )
            for _ in range(self.settings.max_workers)
        ]

    def _on_done(self, job: Job) -> None:
        self._rate.count()
        outcome = job.outcome
        self._finishes.finish(job.segment.name, stored=outcome is not None and not outcome.dead)

    def _on_settled(self) -> None:
        self._jobs.task_done()
        if self._stopping.is_set():
            # The stop may wait for this to be the last one.
            self._intake.wake()

    def _on_fault(self, name: str) -> None:
        """Let no request wait for a committer that has ended."""
        if name == "committer":
            reason = "the thread committer has ended"
            self._intake.fail(reason)
            self._committer.refuse_all(reason)

    def _wake(self) -> None:
        self._intake.wake()

    def _look(self, name: str) -> Found | None:
        adopted = self._source.find(name)
        return self._store.look(name) if adopted is None else found_in_memory(adopted)
