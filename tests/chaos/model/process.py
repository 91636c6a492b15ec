"""One process of the model: the real intake, committer, adoption and uploader, without threads."""

import contextlib
import dataclasses
import queue
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workers.dispatch.backlog import Backlog
from workers.dispatch.backoff import CAP_SECONDS
from workers.dispatch.jobs import Pool
from workers.dispatch.worker import Worker
from workers.intake.feeder import Feeder
from workers.intake.intake import Intake
from workers.keys.keys import Keys
from workers.keys.recovered import key_logger
from workers.segments.finish import Finishes
from workers.segments.future import DurabilityFuture
from workers.segments.ratios import Estimator
from workers.segments.segment import Receipt
from workers.settings.settings import Settings, load_settings
from workers.spool.adoption import Adoption
from workers.spool.decisions import Decisions
from workers.spool.process_spool import ProcessSpool
from workers.stores.committer import Committer
from workers.stores.disk_store import FEW_FILES, DiskStore
from workers.stores.job_source import AdoptedJobs
from workers.upload.compression import estimator_for
from workers.upload.decided import Decided
from workers.upload.s3 import Bucket
from workers.upload.uploader import Uploader

if TYPE_CHECKING:
    from workers.dispatch.jobs import JobQueue
from tests.chaos.model.s3 import MAX_ATTEMPTS, NeverThroughError
from tests.chaos.model.spool import ROOT, SimShared, SimSpool


def _settings(compression: str) -> Settings:
    given = load_settings(
        {
            "S3_BUCKET": "bucket",
            "SPOOL_DIR": str(ROOT),
            "COMPRESSION": compression,
            "OBJECT_MAX_PAYLOADS": "12",
            "OBJECT_TARGET_BYTES": "4096",
            "MAX_QUEUE": "6",
        }
    )
    # Every segment is old enough at once: the trial chooses when one is sealed.
    return dataclasses.replace(given, object_max_age_seconds=0.0)


SETTINGS = [_settings(compression) for compression in ("none", "gzip", "zstd")]


@dataclass(frozen=True, slots=True)
class PendingAnswer:
    """One collection whose client waits for the answer."""

    ids: list[int]
    receipts: list[Receipt]
    future: DurabilityFuture


class SteppedCommitter(Committer):
    """The committer, run step by step: there is one thread, and it cannot wait."""

    @property
    def has_work(self) -> bool:
        """Whether `step` would find something to do."""
        return not self._inbox.empty()


class Process:
    """One process's pipeline without its threads: each thread's work is a method."""

    def __init__(self, spool: SimSpool, *, bucket: Bucket, settings: Settings) -> None:
        # Now and then any two files are many: they are synced all at once.
        few = spool.chance((1, FEW_FILES))
        self.store = DiskStore(spool, max_bytes=settings.spool_max_bytes, few=few)
        self.process_spool = self.store.directory
        self.shared = SimShared(spool.machine)
        self._spool = spool
        self.keys = self.store.keys = self._make_keys()
        self.jobs: JobQueue = queue.Queue(maxsize=settings.max_queue)
        self.committer = SteppedCommitter(self.store, sleep=lambda _: None)
        self.now = 0.0
        self.backlog = Backlog(park=self.store.park, on_change=lambda: None, clock=lambda: self.now)
        self.asked: list[PendingAnswer] = []
        estimator = estimator_for(settings, self.store)
        self.intake = Intake(
            settings,
            store=self.store,
            counters=self.store.counters,
            jobs=self.jobs,
            committer=self.committer,
            estimator=estimator,
            finishes=Finishes(limit=0),
        )
        log_keys = key_logger(self.keys, disk=spool.disk)
        self.adoption = Adoption(spool, log_keys=log_keys)
        self.feeder = Feeder(
            intake=self.intake,
            backlog=self.backlog,
            source=AdoptedJobs(self.adoption, keys=self.keys),
            store=self.store,
            jobs=self.jobs,
        )
        self.worker = self._worker(bucket, estimator)
        self.adopt()

    def _worker(self, bucket: Bucket, estimator: Estimator) -> Worker:
        uploader = Uploader(
            bucket,
            store=self.store,
            bucket_for=Decided(bucket, Decisions(self._spool.root)).bucket_for,
            estimator=estimator,
            # Now and then no body fits into memory, and all are made again for each send.
            memory_bytes=self._spool.chance((0, 1 << 20)),
            on_done=lambda _: None,
        )
        return Worker(
            idle=Pool(),
            upload=uploader.upload,
            backlog=self.backlog,
            on_idle=lambda _: None,
            on_settled=lambda: None,
        )

    def _make_keys(self) -> Keys:
        return Keys(
            self._spool,
            home=lambda: self.process_spool.path.name,
            counters=self.store.counters,
            durable=True,
            max_keys=1000,
            seconds=86_400,
            open_shared=self._open_shared,
            watch=self._spool.watch_counters,
        )

    def _open_shared(self, directory: Path) -> SimShared:
        self._spool.open_keys(directory)
        return self.shared

    @property
    def process_spools(self) -> list[ProcessSpool]:
        """The spool directories that this process owns."""
        return [self.process_spool, *self.adoption.process_spools]

    def accept(self, stream: str, ids: list[int]) -> None:
        """Take a collection.

        Raises:
            Refusal: it was not taken.
        """
        lines = b"".join(map(payload, ids))
        future = self.intake.take(stream, lines, count=len(ids))
        self.asked.append(PendingAnswer(ids, future.receipts(), future))

    def commit(self) -> None:
        """Do the committer's work until none is left."""
        while self.committer.has_work:
            self.committer.step()

    def adopt(self) -> None:
        """Do the adopter's work: one look."""
        self.keys.read()
        self.adoption.look(stopping=lambda: False)
        self.keys.tidy()

    def seal(self) -> None:
        """Do the sealer's work: one round."""
        if self.store.refusal:
            self.store.check()
        self.intake.seal_due()
        self.now += CAP_SECONDS
        self.feeder.feed()
        self.adoption.retire_finished()

    def upload(self) -> bool:
        """Do the work of dispatcher and worker for one job. False where there is none."""
        try:
            job = self.jobs.get_nowait()
        except queue.Empty:
            return False
        self.intake.on_room()
        assert job is not None
        self.commit()
        assert job.segment.frozen.is_set(), "a worker would wait without end"
        self.worker.attempt(job)
        if job.failures > MAX_ATTEMPTS:
            raise NeverThroughError(f"failed {job.failures} times")
        return True

    def stop(self, uploads: int) -> None:
        """Stop in the usual order, with time for so many uploads."""
        self.intake.close()
        jobs = self.intake.freeze_all()
        self.commit()
        for job in jobs:
            with contextlib.suppress(queue.Full):
                self.jobs.put_nowait(job)
        while uploads and self.upload():
            uploads -= 1
        self.adoption.close()
        if self.process_spool.empty:
            self._spool.retire(self.process_spool)
        else:
            self.process_spool.close()


def payload(number: int) -> bytes:
    """Make a payload that shows whether it was altered; every fourth goes over sectors."""
    pad = number * 7919 % (900 if number % 4 == 0 else 61)
    return b'{"id":%d,"pad":"%b"}\n' % (number, b"x" * pad)
