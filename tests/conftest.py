"""What tests of every layer share: the pipeline's parts on a bench, a bucket in a dict, a fake S3.

Also the rules that hold for all of them: no thread survives its test, no packet leaves this
machine, and a unit test neither starts a thread, nor sleeps, nor connects.
"""

import errno
import itertools
import os
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.support.s3 import LOOPBACK, FakeS3
from workers.dispatch.backoff import Backoff
from workers.dispatch.jobs import Job, JobQueue
from workers.errors import ObjectExists, ObjectMissing, StoreUnavailable
from workers.intake.intake import Intake
from workers.operate.receipts import Receipts
from workers.segments.future import DurabilityFuture, Run
from workers.segments.ratios import Ratios
from workers.segments.segment import Receipt, Segment
from workers.settings import Settings, load_settings
from workers.spool.adoption import Adoption
from workers.spool.committer import Committer
from workers.spool.counters import Field, Totals
from workers.spool.disk import Disk
from workers.spool.process_spool import ProcessSpool
from workers.spool.spool import Spool
from workers.upload.body import ObjectBody
from workers.upload.s3 import Bucket, PutAnswer, Stored
from workers.upload.uploader import Uploader

# --- The rules ------------------------------------------------------------------------------------

# moto's server, like every socketserver, has a thread for each connection that is still open.
NOT_OURS = "process_request_thread"
UNIT_TESTS = Path(__file__).parent / "unit"


@pytest.fixture(autouse=True)
def _no_thread_survives() -> Iterator[None]:
    """Fail the test that leaves a thread running."""
    before = set(threading.enumerate())
    yield
    started = [thread for thread in threading.enumerate() if thread not in before]
    left = [thread for thread in started if NOT_OURS not in thread.name]
    for thread in left:
        thread.join(1)
    alive = [thread.name for thread in left if thread.is_alive()]
    assert not alive, f"threads survive this test: {alive}"


@pytest.fixture(autouse=True, scope="session")
def _no_packet_leaves() -> Iterator[None]:
    """Let sockets connect to loopback only, so that no test depends on, or tells, the outside."""
    connect = socket.socket.connect

    def connect_locally(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in (LOOPBACK, "localhost", "::1"):
            raise AssertionError(f"a test may not connect to {address}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_locally)
        yield


@pytest.fixture(autouse=True)
def _unit_tests_are_still(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep threads, sleeps and connections out of unit tests."""

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("a unit test starts no thread, does not sleep and does not connect")

    with pytest.MonkeyPatch.context() as patch:
        if request.path.is_relative_to(UNIT_TESTS):
            patch.setattr(threading.Thread, "start", refuse)
            patch.setattr(time, "sleep", refuse)
            patch.setattr(socket.socket, "connect", refuse)
        yield


# --- Doubles --------------------------------------------------------------------------------------


class DictBucket(Bucket):
    """A bucket in a dict. `trouble` holds what the next PUTs raise, None being one that works.

    A PUT in `lost_answers` (counted from 1) takes effect, and then the connection breaks; of one in
    `keeps_half` only half the body is kept.
    """

    def __init__(self, *, conditional: bool = True) -> None:
        super().__init__(None, conditional=conditional)
        self.objects: dict[str, tuple[bytes, dict[str, str], str | None]] = {}
        self.trouble: deque[Exception | None] = deque()
        self.lost_answers: set[int] = set()
        self.keeps_half: set[int] = set()
        self.puts = 0

    def put(
        self,
        bucket: str,
        key: str,
        body: ObjectBody,
        *,
        metadata: dict[str, str],
        encoding: str | None,
    ) -> PutAnswer:
        del bucket
        self.puts += 1
        error = self.trouble.popleft() if self.trouble else None
        if error is not None:
            raise error
        if self._conditional and key in self.objects:
            raise ObjectExists(key)
        sent = b"".join(body.chunks())
        kept = sent[: len(sent) // 2] if self.puts in self.keeps_half else sent
        self.objects[key] = kept, metadata, encoding
        if self.puts in self.lost_answers:
            raise StoreUnavailable("reset", reason="network")
        return PutAnswer(etag=str(hash(kept)), checksum=ObjectBody.of(kept).checksum)

    def replace(
        self,
        bucket: str,
        key: str,
        body: ObjectBody,
        *,
        etag: str | None,
        metadata: dict[str, str],
        encoding: str | None,
    ) -> PutAnswer:
        assert etag == self.head(bucket, key).etag
        sent = b"".join(body.chunks())
        self.objects[key] = sent, metadata, encoding
        return PutAnswer(etag=str(hash(sent)), checksum=body.checksum)

    def head(self, bucket: str, key: str) -> Stored:
        body, encoding = self.get(bucket, key)
        del encoding
        metadata = self.objects[key][1]
        return Stored(size=len(body), metadata=metadata, etag=str(hash(body)), modified=1.5)

    def get(self, bucket: str, key: str, *, most: int = 0) -> tuple[bytes, str | None]:
        del bucket
        if key not in self.objects:
            raise ObjectMissing(key)
        body, _, encoding = self.objects[key]
        return body[: most or None], encoding

    def delete(self, bucket: str, key: str) -> None:
        del bucket
        self.objects.pop(key, None)


class QuickDisk(Disk):
    """A disk that answers for a sync at once: nothing is cut off here, and many are asked for."""

    def sync(self, file: int) -> None:
        del file

    def sync_names(self, directory: int) -> None:
        del directory


class BadDisk(Disk):
    """A real disk that is full, or fails to sync, when told so; `log` has what was done to it."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.free: int | None = None
        self.full = False
        self.failing = False

    def free_bytes(self, path: Path) -> int:
        return super().free_bytes(path) if self.free is None else self.free

    def append(self, file: int, buffers: Any) -> int:
        self.log.append("append")
        if self.full:
            # As a disk that fills up in the middle of a write.
            os.write(file, buffers[0][:3])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().append(file, buffers)

    def sync(self, file: int) -> None:
        self.log.append("sync")
        if self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(file)

    def sync_everything(self, file: int) -> None:
        self.log.append("sync_everything")
        if self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync_everything(file)

    def sync_names(self, directory: int) -> None:
        self.log.append("sync_names")
        super().sync_names(directory)


class PromptJournal(Committer):
    """The real committer, run to the end of its inbox as soon as anything is in there."""

    def append(self, runs: list[Run]) -> DurabilityFuture:
        future = super().append(runs)
        self.step()
        return future

    def seal(self, segment: Segment) -> None:
        super().seal(segment)
        self.step()


class NoPause(Backoff):
    """An outage that nobody waits through, and a stop in the middle of it if `patience` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: list[int] = []
        self.request_timeout = 1000

    def wait(self, attempt: int) -> None:
        self.attempts.append(attempt)
        if len(self.attempts) > self.request_timeout:
            self.give_up()
        self.check()


# --- The pipeline's parts, without a thread -------------------------------------------------------


def settings_for(spool_dir: Path, **environ: object) -> Settings:
    """Make settings out of environment variables, on a spool of the test's own."""
    given = {"S3_BUCKET": "bucket", "SPOOL_DIR": spool_dir, **environ}
    return load_settings({name: str(value) for name, value in given.items()})


class Bench:
    """One process's pipeline in pieces: what its threads would do is done when it is called for.

    `committed=False` leaves collections in the journal's inbox until `journal.step()`.
    """

    def __init__(
        self, root: Path, *, bucket: DictBucket, disk: Disk | None = None, **environ: object
    ) -> None:
        self.settings = settings_for(root, **environ)
        self.bucket = bucket
        self.disk = disk or QuickDisk()
        self.spool = Spool(root, disk=self.disk)
        self.spool.prepare()
        self.process_spool = self.spool.create_process_spool()
        self.process_spool.counters[Field.DURABLE] = 1
        self.jobs: JobQueue = queue.Queue(maxsize=self.settings.max_queue)
        self.committer = PromptJournal(self.process_spool.counters)
        self.ratios = Ratios(most=8)
        self.backoff = NoPause()
        self.done: list[int] = []
        self.intake = Intake(
            self.settings,
            process_spool=self.process_spool,
            jobs=self.jobs,
            committer=self.committer,
            new_body=self.process_spool.new_file,
            ratios=self.ratios,
        )
        self.adoption = Adoption(self.spool, self.intake)
        self.uploader = Uploader(
            bucket,
            spool=self.spool,
            ratios=self.ratios,
            memory_bytes=self.settings.object_target_bytes * 3 // 2,
            on_done=lambda: self.done.append(1),
        )
        self.receipts = Receipts(
            self.settings, bucket=bucket, spool=self.spool, held=self.process_spool.held
        )

    def accept(self, *payloads: bytes, stream: str = "s") -> list[Receipt]:
        """Accept payloads as one collection."""
        lines = b"".join(payload + b"\n" for payload in payloads)
        return self.intake.accept(stream, lines, count=len(payloads))

    def age(self) -> None:
        """Make every open segment older than anybody's patience, and seal what is due."""
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
            self.backoff.check()
            try:
                self.uploader.upload(job)
            except StoreUnavailable:
                self.backoff.wait(attempt)
            else:
                return

    def upload_all(self) -> None:
        """Seal and upload everything, adopted homes' segments too."""
        self.age()
        self.adoption.feed()
        while not self.jobs.empty():
            self.upload(self.next_job())
            self.adoption.feed()

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
        os.close(self.process_spool._lock_file)

    def adopt(self) -> list[ProcessSpool]:
        """Look for dead processes' homes once; return those that are ours now."""
        self.adoption.look(stopping=lambda: False)
        return self.adoption.process_spools


def balance(totals: Totals) -> tuple[int, int, int, int]:
    """Return accepted, stored, pending and dead."""
    stored, dead = totals[Field.STORED], totals[Field.DEAD]
    return totals[Field.ACCEPTED], stored, totals.pending, dead


@pytest.fixture
def bucket() -> DictBucket:
    """Make an empty bucket in a dict."""
    return DictBucket()


@pytest.fixture
def make_bench(tmp_path: Path, bucket: DictBucket) -> Callable[..., Bench]:
    """Hand out benches on one spool and one bucket: each is another process's pipeline."""

    def make(disk: Disk | None = None, **environ: object) -> Bench:
        return Bench(tmp_path / "spool", bucket=bucket, disk=disk, **environ)

    return make


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """Make one bench, with settings as they are by default."""
    return make_bench()


# --- A real S3 protocol ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[FakeS3]:
    with FakeS3() as running:
        yield running


@pytest.fixture(scope="session")
def real_bucket(_s3_server: FakeS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """Connect to that server as the service does: clients take long to make, and can be shared."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _s3_server.environ().items():
            patch.setenv(name, value)
        bucket = Bucket.connect(settings_for(tmp_path_factory.mktemp("unused"), MAX_WORKERS=20))
    yield bucket
    bucket._client.close()


_numbers = itertools.count(1)


@pytest.fixture
def s3(_s3_server: FakeS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeS3]:
    """Point boto3 at a faultless fake S3 with an empty bucket; the server is shared by the run."""
    _s3_server.listen_again()
    _s3_server.clear()
    _s3_server.bucket = f"bucket-{next(_numbers)}"
    _s3_server.create_bucket(_s3_server.bucket)
    for name, value in _s3_server.environ().items():
        monkeypatch.setenv(name, value)
    yield _s3_server
    _s3_server.listen_again()
    _s3_server.clear()
