"""One process's pipeline in pieces, without a thread: each thread's work is done by a call."""

import itertools
import os
import queue
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.support.doubles import DictBucket, QuickDisk
from workers.dispatch.backlog import Backlog
from workers.dispatch.jobs import Job, JobQueue
from workers.errors import Abandoned, StoreUnavailable
from workers.intake.feeder import Feeder
from workers.intake.intake import Intake
from workers.keys.recovered import key_logger
from workers.operate.receipts import Receipts
from workers.segments.finish import Finishes
from workers.segments.future import Callback, DurabilityFuture, KeyClaim, Run
from workers.segments.segment import Receipt, Segment
from workers.settings.settings import Settings, load_settings
from workers.spool.adoption import Adoption
from workers.spool.counters import Field, Totals
from workers.spool.decisions import Decisions
from workers.spool.disk import Disk
from workers.spool.process_spool import ProcessSpool
from workers.spool.spool import Spool
from workers.stores.committer import Committer
from workers.stores.disk_store import DiskStore
from workers.stores.job_source import AdoptedJobs
from workers.upload.compression import estimator_for
from workers.upload.decided import Decided
from workers.upload.uploader import Uploader


class ImmediateCommitter(Committer):
    """The real committer, run to the end of its inbox as soon as anything is in there."""

    def append(
        self,
        runs: list[Run],
        callback: Callback | None = None,
        *,
        claim: KeyClaim | None = None,
    ) -> DurabilityFuture:
        future = super().append(runs, callback, claim=claim)
        self.step()
        return future

    def seal(self, segment: Segment, *, drop: bool = False) -> None:
        super().seal(segment, drop=drop)
        self.step()


class Retries:
    """Attempts that follow each other at once, and a stop after `limit` of them."""

    def __init__(self) -> None:
        self.attempts: list[int] = []
        self.limit = 1000

    def wait(self, attempt: int) -> None:
        """Take note of a failed attempt.

        Raises:
            Abandoned: the stop has come.
        """
        self.attempts.append(attempt)
        if len(self.attempts) > self.limit:
            raise Abandoned("stopping")


def settings_for(spool_dir: Path, **environ: object) -> Settings:
    """Make settings out of environment variables, on a spool of the test's own."""
    given = {"S3_BUCKET": "bucket", "SPOOL_DIR": spool_dir, **environ}
    settings = load_settings({name: str(value) for name, value in given.items()})
    # Without a disk it would be one in the machine's memory, which other tests share.
    return replace(settings, spool_dir=spool_dir.absolute())


class Bench:
    """One process's pipeline in pieces: what its threads would do is done when it is called for.

    Everything accepted is committed at once.
    """

    def __init__(
        self, root: Path, *, bucket: DictBucket, disk: Disk | None = None, **environ: object
    ) -> None:
        self.settings = settings_for(root, **environ)
        self.bucket = bucket
        self.disk = disk or QuickDisk()
        self.spool = Spool(root, disk=self.disk)
        self.store = DiskStore(self.spool, max_bytes=self.settings.spool_max_bytes)
        self.process_spool = self.store.directory
        self.unrecovered = 0
        self.keys = self.store.use_keys(self.settings)
        self.keys.on_unrecovered = self._count_unrecovered
        self.jobs: JobQueue = queue.Queue(maxsize=self.settings.max_queue)
        self.committer = ImmediateCommitter(self.store)
        self.estimator = estimator_for(self.settings, self.store)
        self.retries = Retries()
        self.now = 0.0
        self.backlog = Backlog(park=self.store.park, on_change=lambda: None, clock=lambda: self.now)
        self.done: list[int] = []
        self.finishes = Finishes(limit=100, clock=lambda: self.now)
        self.intake = Intake(
            self.settings,
            store=self.store,
            counters=self.store.counters,
            jobs=self.jobs,
            committer=self.committer,
            estimator=self.estimator,
            finishes=self.finishes,
            is_held_up=self.backlog.is_held_up,
        )
        self.receipts = Receipts(
            self.settings,
            bucket=bucket,
            look=self.store.look,
            decisions=Decisions(self.spool.root),
        )
        self._make_ways_to_s3()

    def _count_unrecovered(self) -> None:
        self.unrecovered += 1

    def _make_ways_to_s3(self) -> None:
        log_keys = key_logger(self.keys, disk=self.disk)
        self.adoption = Adoption(self.spool, log_keys=log_keys)
        self.feeder = Feeder(
            intake=self.intake,
            backlog=self.backlog,
            source=AdoptedJobs(self.adoption, keys=self.keys),
            store=self.store,
            jobs=self.jobs,
        )
        self.decided = Decided(self.bucket, Decisions(self.spool.root))
        self.uploader = Uploader(
            self.bucket,
            store=self.store,
            bucket_for=self.decided.bucket_for,
            estimator=self.estimator,
            memory_bytes=self.settings.object_target_bytes * 3 // 2,
            on_done=self._on_done,
        )

    def _on_done(self, job: Job) -> None:
        self.done.append(1)
        self.finishes.finish(job.segment.name, stored=not (job.outcome and job.outcome.dead))

    def accept(self, *payloads: bytes, stream: str = "s") -> list[Receipt]:
        """Accept payloads as one collection."""
        lines = b"".join(payload + b"\n" for payload in payloads)
        if self.store.refusal:
            self.store.check()
        return self.intake.take(stream, lines, count=len(payloads)).result()

    def age(self) -> None:
        """Make every open segment older than `OBJECT_MAX_AGE_SECONDS`, and seal what is due."""
        for segment in self.process_spool.unfinished():
            segment.created_at -= 1e6
        self.intake.seal_due()

    def next_job(self) -> Job:
        """Take the next job out of the queue."""
        job = self.jobs.get_nowait()
        assert job is not None
        return job

    def upload(self, job: Job) -> None:
        """Try a job again and again until it is stored or dead."""
        for attempt in itertools.count(1):
            try:
                self.uploader.upload(job)
            except StoreUnavailable:
                self.retries.wait(attempt)
            else:
                return

    def feed(self) -> None:
        """Do one round of the feeder."""
        self.feeder.feed()
        self.adoption.retire_finished()

    def upload_all(self) -> None:
        """Seal and upload everything, adopted segments too."""
        self.age()
        self.feed()
        while not self.jobs.empty():
            self.upload(self.next_job())
            self.feed()

    def totals(self) -> Totals:
        """Return the figures of the whole spool."""
        return self.spool.totals()

    def die(self) -> None:
        """Leave everything as a kill would: the kernel closes the files and frees the lock."""
        for segment in self.process_spool.unfinished():
            file = getattr(segment.body, "_file", None)
            if file is not None:
                os.close(file)
        self.process_spool.counters.close()
        self.process_spool.leave()

    def adopt(self) -> list[ProcessSpool]:
        """Look once for spools of ended processes; return those that are ours now."""
        self.adoption.look(stopping=lambda: False)
        return self.adoption.process_spools


def balance(totals: Totals) -> tuple[int, int, int, int]:
    """Return accepted, stored, pending and dead."""
    stored, dead = totals[Field.STORED], totals[Field.DEAD]
    return totals[Field.ACCEPTED], stored, totals.pending, dead


MakeBench = Callable[..., Bench]
