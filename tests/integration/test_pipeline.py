"""The pipeline as it runs: its threads, its stop, what dead processes left, S3 away and back."""

import contextlib
import errno
import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.support import wait_until
from tests.support.bench import Bench, balance, settings_for
from tests.support.doubles import DictBucket
from tests.support.s3 import LOOPBACK, FakeS3, Fault
from workers import pipeline as pipeline_module
from workers.dispatch import backoff
from workers.errors import Draining, Full, NotConfirmed, NotDurable
from workers.pipeline import FIRST_RETRY_AFTER, MAX_RETRY_AFTER, Pipeline
from workers.segments.naming import created_microseconds
from workers.segments.segment import Receipt
from workers.spool.counters import Field, Totals
from workers.spool.spool import Spool
from workers.upload.compression import unpack
from workers.upload.s3 import Bucket

SECONDS = 10
QUICK: dict[str, object] = {"OBJECT_MAX_AGE_SECONDS": 0.02, "DRAIN_SECONDS": 5, "MAX_WORKERS": 3}
HANG = Fault(kind="hang")
OVERLOADED = Fault(kind="error", status=503, code="SlowDown")
TOO_LARGE = Fault(kind="error", status=400, code="EntityTooLarge")

Start = Callable[..., Pipeline]
Leave = Callable[[int], list[Receipt]]


@pytest.fixture
def start(
    tmp_path: Path, s3: FakeS3, real_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Start]:
    """Start pipelines on one spool and one bucket: each is another process's. Stop those left."""
    monkeypatch.setattr(backoff, "BASE_SECONDS", 0.02)
    started: list[Pipeline] = []

    def start(spool: Path = tmp_path / "spool", **environ: object) -> Pipeline:
        settings = settings_for(spool, **{**QUICK, "S3_BUCKET": s3.bucket, **environ})
        pipeline = Pipeline(settings, bucket=real_bucket)
        pipeline.start()
        started.append(pipeline)
        return pipeline

    yield start
    # Whatever a test made S3 do, nobody waits for it any more.
    s3.listen_again()
    s3.clear()
    for pipeline in started:
        pipeline.stop()


@pytest.fixture
def leave_behind(tmp_path: Path, s3: FakeS3) -> Leave:
    """Leave payloads in the spool, a segment each, as a killed process does."""

    def leave(count: int) -> list[Receipt]:
        bench = Bench(
            tmp_path / "spool",
            bucket=DictBucket(),
            OBJECT_MAX_PAYLOADS=1,
            MAX_QUEUE=10_000,
            S3_BUCKET=s3.bucket,
        )
        receipts = [bench.accept(b'{"left":%d}' % number)[0] for number in range(count)]
        bench.die()
        return receipts

    return leave


def accept(pipeline: Pipeline, *payloads: bytes, stream: str = "s") -> list[Receipt]:
    """Accept payloads as one collection."""
    lines = b"".join(payload + b"\n" for payload in payloads)
    return pipeline.accept(stream, lines, count=len(payloads))


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what other threads do."""
    wait_until(condition, timeout=SECONDS, what=what)


def until_stored(pipeline: Pipeline, count: int) -> None:
    """Wait until so many payloads are stored."""
    until(lambda: pipeline.totals()[Field.STORED] >= count, f"{count} stored payloads")


@contextlib.contextmanager
def hang(s3: FakeS3) -> Iterator[None]:
    """Make PUTs hang, and wait at the end of the block until one does."""
    before = s3.counts().faults.get("hang", 0)
    s3.faults(Fault(kind="hang"))
    yield
    s3.wait_until(lambda counts: counts.faults.get("hang", 0) > before, what="a PUT that hangs")


def stored(s3: FakeS3) -> list[bytes]:
    """Return every line in the bucket, sorted."""
    return sorted(line for _, _, line in s3.lines())


def ours() -> set[str]:
    """Return the names of the threads there are beside pytest's."""
    return {thread.name for thread in threading.enumerate()} - {"MainThread"}


# --- Threads --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("durability", "committer"), [("disk", {"committer"}), ("memory", set())])
def test_threads_alive_are_threads_owned(
    start: Start, durability: str, committer: set[str]
) -> None:
    """Those that the pipeline names are all there are, and after the stop there are none."""
    pipeline = start(DURABILITY=durability)
    workers = {"worker-1", "worker-2", "worker-3"}
    assert ours() == workers | {"dispatcher", "sealer", "adopter"} | committer
    assert ours() == {thread.name for thread in pipeline._threads}
    until(lambda: pipeline.totals()[Field.IDLE_WORKERS] == 3, "idle workers")
    pipeline.stop()
    assert ours() == set()


def test_a_pipeline_that_never_started_can_be_stopped(tmp_path: Path) -> None:
    """A stop between construction and start leaves nothing behind."""
    pipeline = Pipeline(settings_for(tmp_path), bucket=DictBucket())
    pipeline.stop()
    assert not pipeline.process_spool.path.exists()


def test_the_sealer_and_the_adopter_outlive_errors(
    start: Start,
    leave_behind: Leave,
    s3: FakeS3,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error that nobody foresaw costs one round and a line in the log, and not the thread."""
    monkeypatch.setattr(pipeline_module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(pipeline_module, "REFRESH_SECONDS", 0.02)
    adopt_orphans, totals = Spool.adopt_orphans, Spool.totals
    failures = iter([True, True, True, True])

    def adopt_with_trouble(self: Spool) -> Any:
        if next(failures, False):
            raise RuntimeError("adopting")
        return adopt_orphans(self)

    def totals_with_trouble(self: Spool) -> Totals:
        if threading.current_thread().name == "sealer" and next(failures, False):
            raise RuntimeError("adding up")
        return totals(self)

    monkeypatch.setattr(Spool, "adopt_orphans", adopt_with_trouble)
    monkeypatch.setattr(Spool, "totals", totals_with_trouble)
    leave_behind(1)
    pipeline = start()
    accept(pipeline, b'{"new":1}')
    until_stored(pipeline, 2)
    assert stored(s3) == [b'{"left":0}', b'{"new":1}']


# --- From here to S3 ------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["disk", "memory"])
def test_what_many_threads_bring_is_stored_once(start: Start, s3: FakeS3, durability: str) -> None:
    """Every payload is in exactly one object, where its receipt says."""
    pipeline = start(DURABILITY=durability, OBJECT_MAX_PAYLOADS=40)

    def bring(thread: int) -> list[tuple[bytes, Receipt]]:
        given = []
        for number in range(50):
            payload = b'{"id":"%d-%d"}' % (thread, number)
            given += [(payload, receipt) for receipt in accept(pipeline, payload)]
        return given

    with ThreadPoolExecutor(4) as threads:
        given = [each for found in threads.map(bring, range(4)) for each in found]
    until_stored(pipeline, 200)
    found = {(key, number): line for key, number, line in s3.lines()}
    assert len(found) == 200
    for payload, receipt in given:
        assert found[receipt.header.key, receipt.first_line] == payload
    assert all(stored.stored_count == 1 for stored in s3.objects().values())


def test_another_s3_reads_what_we_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moto, which others wrote, takes our PUTs, checks their digests, and shows what we say."""
    server = ThreadedMotoServer(ip_address=LOOPBACK, port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="bucket")
        settings = settings_for(tmp_path, **QUICK)
        pipeline = Pipeline(settings, bucket=Bucket.connect(settings))
        pipeline.start()
        receipt = accept(pipeline, b'{"n":1}', b'{"n":2}')[0]
        pipeline.stop()
        found = client.get_object(Bucket="bucket", Key=receipt.header.key)
        assert found["ContentType"] == "application/x-ndjson"
        assert found["Metadata"]["payloads"] == "2"
        text = unpack(found["Body"].read(), compression=found["ContentEncoding"])
        assert text == b'{"n":1}\n{"n":2}\n'
        client.close()
        pipeline.bucket.close()
    finally:
        server.stop()


def test_half_of_all_answers_lost(start: Start, s3: FakeS3) -> None:
    """A PUT that took effect though its answer was lost is found out, and counted once."""
    pipeline = start(OBJECT_MAX_PAYLOADS=1)
    s3.faults(Fault(kind="lose_answer", probability=0.5))
    accept(pipeline, *(b'{"n":%02d}' % number for number in range(20)))
    until_stored(pipeline, 20)
    assert stored(s3) == [b'{"n":%02d}' % number for number in range(20)]
    assert balance(pipeline.totals()) == (20, 20, 0, 0)
    assert pipeline.totals()[Field.CONFLICTS] > 0


def test_when_one_gets_through_the_waiting_try_at_once(
    start: Start, s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sleeps a long pause out once S3 is back."""
    monkeypatch.setattr(random, "uniform", lambda _, high: high * 10_000)
    s3.faults(OVERLOADED)
    pipeline = start(OBJECT_MAX_PAYLOADS=1, MAX_WORKERS=4)
    accept(pipeline, *[b"{}"] * 3)
    until(lambda: pipeline._backoff._waiting == 3, "three waiting workers")
    s3.clear()
    accept(pipeline, b"{}")
    until_stored(pipeline, 4)
    assert pipeline.totals()[Field.PUT_FAILURES_THROTTLED] == 3


def test_a_full_queue_refuses_and_recovers(start: Start, s3: FakeS3) -> None:
    """Workers, queue and open segment hold what the formula says; refused at once; then room."""
    s3.faults(HANG)
    pipeline = start(MAX_WORKERS=2, MAX_QUEUE=3, OBJECT_MAX_PAYLOADS=1)
    accept(pipeline, b'{"n":0}')
    accept(pipeline, b'{"n":1}')
    until(lambda: pipeline.totals()[Field.IDLE_WORKERS] == 0, "two busy workers")
    for number in range(2, 6):
        accept(pipeline, b'{"n":%d}' % number)
    started = time.monotonic()
    with pytest.raises(Full):
        accept(pipeline, b'{"n":6}')
    assert time.monotonic() - started < 1
    assert pipeline.refusal() is not None
    assert pipeline.totals()[Field.QUEUE_DEPTH] == 3
    s3.clear()
    until_stored(pipeline, 6)
    assert pipeline.refusal() is None
    accept(pipeline, b'{"n":7}')
    until_stored(pipeline, 7)
    assert stored(s3) == [b'{"n":%d}' % number for number in (*range(6), 7)]


@pytest.mark.parametrize(
    "bound",
    [{"SPOOL_MAX_BYTES": 1 << 20}, {"DURABILITY": "memory", "MEMORY_MAX_BYTES": 1 << 20}],
    ids=["disk", "memory"],
)
def test_the_byte_budget_refuses_and_recovers(
    start: Start, s3: FakeS3, bound: dict[str, object]
) -> None:
    """With S3 away no more bytes are taken than the settings say; when it is back, all go up."""
    s3.faults(OVERLOADED)
    pipeline = start(OBJECT_TARGET_BYTES=100_000, COMPRESSION="none", **bound)
    accepted = 0
    for number in range(100):
        try:
            accept(pipeline, b'{"n":%d,"pad":"%s"}' % (number, b"x" * 20_000))
        except Full:
            break
        accepted += 1
    assert 30 < accepted < 53
    assert pipeline.totals()[Field.HELD_BYTES] <= 1 << 20
    s3.clear()
    until_stored(pipeline, accepted)
    accept(pipeline, b"{}")
    until_stored(pipeline, accepted + 1)
    until(lambda: pipeline.totals()[Field.HELD_BYTES] == 0, "the budget back")
    assert len(s3.lines()) == accepted + 1


def test_a_failed_sync_ends_acceptance(
    start: Start, s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EIO is said to clients and to readiness; the stop still ends every thread."""
    pipeline = start(OBJECT_MAX_AGE_SECONDS=1000)
    accept(pipeline, b'{"n":1}')
    fdatasync = os.fdatasync

    def fail(file: int) -> None:
        if threading.current_thread().name == "committer":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fdatasync(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(NotConfirmed):
            accept(pipeline, b'{"n":2}')
    with pytest.raises(NotDurable, match="restart"):
        accept(pipeline, b'{"n":3}')
    assert "restart" in str(pipeline.refusal())
    pipeline.stop()
    assert ours() == set()
    successor = start()
    until_stored(successor, 1)
    assert b'{"n":1}' in stored(s3)
    assert b'{"n":3}' not in stored(s3)


# --- Retry-After ----------------------------------------------------------------------------------


def test_retry_after_follows_the_drain_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It falls as jobs finish faster, rises as they finish slower, and as nothing finishes."""
    pipeline = Pipeline(settings_for(tmp_path, MAX_QUEUE=100), bucket=DictBucket())
    assert pipeline.retry_after() == FIRST_RETRY_AFTER
    for _ in range(100):
        pipeline._jobs.put(None)
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def after(*, seconds_each: float, idle: float = 0.0) -> int:
        pipeline._finished.clear()
        pipeline._finished.extend(now - idle - seconds_each * n for n in range(32, 0, -1))
        return pipeline.retry_after()

    assert after(seconds_each=0.1) == 6
    assert after(seconds_each=0.5) == 26
    assert after(seconds_each=0.1, idle=3.2) == 11
    assert after(seconds_each=0.001) == 1
    assert after(seconds_each=60) == MAX_RETRY_AFTER
    while pipeline._jobs.qsize() > 20:
        pipeline._jobs.get()
    assert after(seconds_each=0.5) == 6
    monkeypatch.undo()
    pipeline.stop()


# --- The stop -------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["disk", "memory"])
def test_a_stop_stores_everything(start: Start, s3: FakeS3, durability: str) -> None:
    """Open segments are sealed and uploaded, the home retired, and nothing is left in the spool."""
    pipeline = start(DURABILITY=durability, OBJECT_MAX_AGE_SECONDS=1000)
    for stream, number in itertools.product("abc", range(3)):
        accept(pipeline, b'{"n":%d}' % number, stream=stream)
    pipeline.stop()
    assert len(s3.lines()) == 9
    assert len(s3.objects()) == 3
    assert balance(pipeline.totals()) == (9, 9, 0, 0)
    assert not pipeline.process_spool.path.exists()


def test_a_second_stop_waits_for_the_first(start: Start) -> None:
    """Whoever stops, when stop returns everything is stopped."""
    pipeline = start()
    accept(pipeline, b"{}")
    with ThreadPoolExecutor(3) as threads:
        for stopped in [threads.submit(pipeline.stop) for _ in range(3)]:
            stopped.result()
            assert not any(thread.is_alive() for thread in pipeline._threads)
    assert balance(pipeline.totals()) == (1, 1, 0, 0)


def test_after_the_stop_nothing_comes_in(start: Start) -> None:
    """A late request is refused and leaves nothing behind."""
    pipeline = start()
    pipeline.stop()
    assert pipeline.refusal() == "stopping"
    with pytest.raises(Draining):
        accept(pipeline, b"{}")
    assert balance(pipeline.totals()) == (0, 0, 0, 0)


@pytest.mark.parametrize("durability", ["disk", "memory"])
@pytest.mark.parametrize("fault", ["down", "overloaded"])
def test_with_s3_away_the_rest_is_kept(
    start: Start, s3: FakeS3, durability: str, fault: str
) -> None:
    """What cannot be uploaded by the deadline is in the spool, and the next pipeline stores it."""
    if fault == "down":
        s3.stop_listening()
    else:
        s3.faults(OVERLOADED)
    pipeline = start(DURABILITY=durability, OBJECT_MAX_PAYLOADS=3, MAX_QUEUE=4, DRAIN_SECONDS=0.5)
    receipts = [accept(pipeline, b'{"n":%d}' % number)[0] for number in range(10)]
    receipts += accept(pipeline, b'{"n":10}', stream="other")
    began = time.monotonic()
    pipeline.stop()
    assert time.monotonic() - began < 5
    # Whoever was in the midst of a try when its time was over ends with it.
    wait_until(lambda: ours() == set(), timeout=10, what="the end of every thread")
    assert balance(pipeline.totals()) == (11, 0, 11, 0)
    oldest = pipeline.totals().oldest_microseconds
    assert oldest == created_microseconds(receipts[0].header.name)
    s3.listen_again()
    s3.clear()
    successor = start(DURABILITY=durability)
    until_stored(successor, 11)
    assert stored(s3) == sorted(b'{"n":%d}' % number for number in range(11))
    found = {(key, number) for key, number, _ in s3.lines()}
    assert found == {(receipt.header.key, receipt.first_line) for receipt in receipts}
    assert balance(successor.totals()) == (11, 11, 0, 0)
    assert successor.totals().oldest_microseconds == 0


def test_a_put_that_hangs_does_not_hold_up_the_stop(start: Start, s3: FakeS3) -> None:
    """A worker whose PUT hangs is left behind at the deadline, and its payload is on the disk."""
    with hang(s3):
        pipeline = start(MAX_WORKERS=1, DRAIN_SECONDS=0.5)
        accept(pipeline, b"{}")
    began = time.monotonic()
    pipeline.stop()
    assert time.monotonic() - began < 2
    assert ours() == {"worker-1", "dispatcher"}
    assert len(list(pipeline.process_spool.path.glob("*.ready"))) == 1
    # As if its process had lived a little longer: the PUT takes effect, and is counted.
    s3.clear()
    for thread in pipeline._threads:
        thread.join(SECONDS)
    assert balance(pipeline.totals()) == (1, 1, 0, 0)
    assert stored(s3) == [b"{}"]


# --- What dead processes left ---------------------------------------------------------------------


def test_a_backlog_goes_up_beside_new_traffic(
    start: Start, leave_behind: Leave, s3: FakeS3
) -> None:
    """What a dead process left is stored once, oldest first, while new payloads come in."""
    left = leave_behind(20)
    pipeline = start(MAX_WORKERS=1)
    new = [accept(pipeline, b'{"new":%d}' % number)[0] for number in range(5)]
    until_stored(pipeline, 25)
    assert len(stored(s3)) == 25
    objects = s3.objects()
    assert all(found.stored_count == 1 for found in objects.values())
    times = [objects[receipt.header.key].modified for receipt in left]
    assert times == sorted(times)
    assert {receipt.header.key for receipt in (*left, *new)} == set(objects)
    until(lambda: len(list(pipeline.spool.root.glob("?" * 32))) == 1, "the home to be retired")
    assert balance(pipeline.totals()) == (25, 25, 0, 0)


def test_the_age_of_what_was_left_is_told(start: Start, leave_behind: Leave, s3: FakeS3) -> None:
    """The oldest unstored payload's age does not begin anew with its adoption."""
    left = leave_behind(2)
    s3.faults(OVERLOADED)
    pipeline = start()
    until(lambda: bool(pipeline._adoption.process_spools), "adoption")
    oldest = created_microseconds(left[0].header.name)
    assert pipeline.totals().oldest_microseconds == oldest
    s3.clear()
    until_stored(pipeline, 2)
    until(lambda: pipeline.totals().oldest_microseconds == 0, "nothing unstored")


def test_a_backlog_leaves_half_of_the_queue(start: Start, leave_behind: Leave, s3: FakeS3) -> None:
    """However long the backlog and S3 stuck, the other half of the queue is for what comes in."""
    leave_behind(20)
    s3.faults(HANG)
    pipeline = start(MAX_WORKERS=1, MAX_QUEUE=8, OBJECT_MAX_PAYLOADS=1)
    until(lambda: pipeline.totals()[Field.IDLE_WORKERS] == 0, "a busy worker")
    until(lambda: pipeline.totals()[Field.QUEUE_DEPTH] == 4, "half a queue")
    for number in range(5):
        accept(pipeline, b'{"new":%d}' % number)
    with pytest.raises(Full):
        accept(pipeline, b"{}")
    s3.clear()
    until_stored(pipeline, 25)


def test_a_backlog_on_disk_is_not_in_memory(
    start: Start,
    leave_behind: Leave,
    s3: FakeS3,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Memory mode's budget is for this process's memory: files of others do not shut its door."""
    monkeypatch.setattr(pipeline_module, "REFRESH_SECONDS", 0.01)
    s3.faults(OVERLOADED)
    leave_behind(1)
    spool = Spool(start(DRAIN_SECONDS=0.5).spool.root)
    process_spool = spool.create_process_spool()
    process_spool.counters[Field.HELD_BYTES] = 1 << 30
    pipeline = start(DURABILITY="memory", MEMORY_MAX_BYTES=1 << 20)
    for _ in range(20):
        accept(pipeline, b"{}")
        pipeline._intake.wake()
    assert pipeline.refusal() is None
    disk = start(SPOOL_MAX_BYTES=1 << 20)
    until(lambda: "byte budget" in str(disk.refusal()), "the shared budget to be used up")
    process_spool.close()


def test_one_home_is_adopted_by_one(
    start: Start,
    leave_behind: Leave,
    s3: FakeS3,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Several processes look for orphans at the same time; each payload is stored once."""
    monkeypatch.setattr(pipeline_module, "LOOK_SECONDS", 0.01)
    pipelines = [start() for _ in range(3)]
    for _ in range(4):
        leave_behind(5)
    until_stored(pipelines[0], 20)
    assert len(s3.objects()) == 20
    assert all(found.stored_count == 1 for found in s3.objects().values())
    until(lambda: balance(pipelines[0].totals()) == (20, 20, 0, 0), "balanced books")


# --- The ledger and the receipts, across processes ------------------------------------------------


class Sampler:
    """Reads the books again and again while a test runs, and notes what does not add up."""

    def __init__(self, spool: Spool) -> None:
        self.faults: list[tuple[int, int, int, int]] = []
        self.samples = 0
        self._spool = spool
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        last = (0, 0, 0, 0)
        while not self._done.is_set():
            now = balance(self._spool.totals())
            accepted, stored, pending, dead = now
            adds_up = accepted == stored + pending + dead and min(now) >= 0
            if not adds_up or accepted < last[0] or stored < last[1]:
                self.faults.append(now)
            last = now
            self.samples += 1


@pytest.mark.parametrize("durability", ["disk", "memory"])
def test_the_books_balance_at_every_moment(
    start: Start, s3: FakeS3, leave_behind: Leave, durability: str
) -> None:
    """Processes come, go, adopt and fail: accepted = stored + pending + dead, and neither falls."""
    leave_behind(10)
    s3.faults(
        Fault(kind="error", status=400, code="EntityTooLarge", times=3, key_contains="s/"),
        Fault(kind="lose_answer", probability=0.3, key_contains="s/"),
    )
    first = start(DURABILITY=durability, OBJECT_MAX_PAYLOADS=7)
    with Sampler(first.spool) as sampler:
        second = start(DURABILITY=durability, OBJECT_MAX_PAYLOADS=3)
        for number in range(60):
            accept(first, b'{"n":%d}' % number)
            accept(second, b'{"n":%d}' % (1000 + number), b'{"n":%d}' % (2000 + number))
        first.stop()
        third = start()
        for number in range(20):
            accept(third, b'{"n":%d}' % (3000 + number))
        second.stop()
        until(lambda: balance(third.totals())[2] == 0, "nothing pending")
        third.stop()
    assert sampler.faults == []
    assert sampler.samples > 50
    accepted, there, _, dead = balance(third.totals())
    assert accepted == 10 + 60 + 120 + 20
    assert there == len([key for key, _, _ in s3.lines() if not key.startswith("_dead/")])
    assert dead > 0


def test_receipts_from_another_process_and_machine(
    start: Start, s3: FakeS3, tmp_path: Path
) -> None:
    """Accepted, uploading, stored: the same spool knows at once, the same bucket in the end."""
    here, beside = start(OBJECT_MAX_AGE_SECONDS=1000), start()
    elsewhere = start(tmp_path / "elsewhere", KEY_TEMPLATE="x/{segment}", COMPRESSION="none")
    receipt = accept(here, b'{"n":1}', b'{"n":2}')[0]
    id = here.receipts.issue(receipt)
    assert [each.receipts.look_up(id).state for each in (here, beside, elsewhere)] == [
        "accepted",
        "accepted",
        "accepted",
    ]
    with hang(s3):
        here._intake._open["s"].created_at -= 2000
        here._intake.wake()
    assert here.receipts.look_up(id).state == "uploading"
    assert beside.receipts.look_up(id).state == "uploading"
    s3.clear()
    until_stored(here, 2)
    size = len(s3.objects()[receipt.header.key].body)
    for pipeline in (here, beside, elsewhere):
        status = pipeline.receipts.look_up(id)
        assert (status.state, status.size, status.count) == ("stored", size, 2)
        assert abs((status.stored_at or 0) - time.time()) < 60
        assert pipeline.receipts.payloads(id) == [b'{"n":1}', b'{"n":2}']


def test_a_dead_letter_is_known_everywhere(start: Start, s3: FakeS3, tmp_path: Path) -> None:
    """Why S3 refused a payload is told by every machine that shares the bucket."""
    s3.faults(Fault(kind="error", status=400, code="EntityTooLarge", times=1))
    here = start()
    id = here.receipts.issue(accept(here, b"{}")[0])
    until(lambda: balance(here.totals()) == (1, 0, 0, 1), "a dead letter")
    elsewhere = start(tmp_path / "elsewhere")
    until(lambda: elsewhere.receipts.look_up(id).state == "dead", "the note in the bucket")
    for pipeline in (here, start(), elsewhere):
        status = pipeline.receipts.look_up(id)
        assert status.state == "dead"
        assert "EntityTooLarge" in str(status.reason)
