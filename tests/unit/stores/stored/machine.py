"""A process with `DURABILITY=stored` in pieces, without a thread and with a clock of its own."""

import queue
from pathlib import Path

from tests.support.bench import settings_for
from tests.support.doubles import DictBucket
from workers.dispatch.backlog import Backlog
from workers.dispatch.jobs import JobQueue
from workers.dispatch.worker import Worker
from workers.intake.feeder import Feeder
from workers.intake.intake import Intake
from workers.segments.finish import Finishes
from workers.segments.future import DurabilityFuture
from workers.segments.ratios import Estimator
from workers.spool.adoption import Adoption
from workers.spool.counters import Field, Totals
from workers.spool.spool import Spool
from workers.stores.job_source import AdoptedJobs
from workers.stores.stored_committer import StoredCommitter
from workers.stores.stored_store import StoredStore
from workers.upload.compression import estimator_for
from workers.upload.uploader import Uploader


class Machine:
    """What its threads would do is done when it is called for. `answers` are in their order."""

    stop_seconds = 3.0

    def __init__(self, root: Path, bucket: DictBucket, **environ: str) -> None:
        self.root, self.now = root, 1000.0
        self.answers: list[tuple[DurabilityFuture, Exception | None]] = []
        settings = settings_for(root, DURABILITY="stored", **environ)
        spool = Spool(root)
        self.store = StoredStore(spool, settings=settings, clock=lambda: self.now)
        self.committer = StoredCommitter(self.store, stop_seconds=self.stop_seconds)
        self.jobs = JobQueue(maxsize=settings.max_queue)
        self.backlog = Backlog(park=self.store.park, on_change=lambda: None, clock=lambda: self.now)
        estimator = estimator_for(settings, self.store)
        self.intake = Intake(
            settings,
            store=self.store,
            counters=self.store.counters,
            jobs=self.jobs,
            committer=self.committer,
            estimator=estimator,
            finishes=Finishes(limit=1),
            is_held_up=self.backlog.is_held_up,
        )
        self._seconds = settings.request_seconds
        self._feeder = self._make_feeder(spool)
        self._worker = self._make_worker(bucket, estimator)

    def _make_feeder(self, spool: Spool) -> Feeder:
        return Feeder(
            intake=self.intake,
            backlog=self.backlog,
            source=AdoptedJobs(Adoption(spool), keys=None),
            store=self.store,
            jobs=self.jobs,
        )

    def _make_worker(self, bucket: DictBucket, estimator: Estimator) -> Worker:
        uploader = Uploader(
            bucket,
            store=self.store,
            bucket_for=lambda header: header.bucket,
            estimator=estimator,
            memory_bytes=1 << 20,
            on_done=lambda _: None,
        )
        return Worker(
            idle=queue.SimpleQueue(),
            upload=uploader.upload,
            backlog=self.backlog,
            on_idle=lambda _: None,
            on_settled=lambda: None,
        )

    def send(self, *payloads: bytes, stream: str = "s") -> DurabilityFuture:
        """Send a collection."""
        lines = b"".join(payload + b"\n" for payload in payloads)
        return self.intake.take(stream, lines, count=len(payloads), callback=self._answer)

    def seal(self, *streams: str) -> None:
        """Let open segments be old enough, all without names, and seal them."""
        for segment in self.intake.open_segments():
            if not streams or segment.header.stream in streams:
                segment.created_at -= 1e6
        self.intake.seal_due()

    def attempt(self) -> None:
        """Make one attempt with the next job, once it is due."""
        if self.jobs.empty():
            self.now += self.backlog.next_due() or 0.0
            self._feeder.feed()
        job = self.jobs.get_nowait()
        assert job is not None
        self._worker.attempt(job)

    def work(self) -> None:
        """Make attempts with the jobs that are in the queue, and with no parked one."""
        while not self.jobs.empty():
            self.attempt()

    def attempt_all(self) -> None:
        """Make attempts until there is no job any more."""
        for _ in range(100):
            if self.jobs.empty() and self.backlog.is_empty:
                return
            self.attempt()
        raise AssertionError("there are jobs without an end")

    def pass_time(self, share: float) -> None:
        """Let a part of the time pass that a request has; then look what is late."""
        self.now += share * self._seconds
        self.store.expire()

    def pass_deadline(self) -> None:
        """Let all of it pass."""
        self.pass_time(1)

    def totals(self) -> Totals:
        """Return the ledger."""
        return self.store.totals()

    @property
    def held_bytes(self) -> int:
        """Bytes that are held of the budget."""
        return self.store.counters[Field.HELD_BYTES]

    def _answer(self, future: DurabilityFuture) -> None:
        self.answers.append((future, future.exception))
