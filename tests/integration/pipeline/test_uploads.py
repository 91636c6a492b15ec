"""From the pipeline to S3: once each, with answers lost, a full queue, a full budget."""

import errno
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.pipeline.samples import (
    HANG,
    OVERLOADED,
    QUICK,
    SECONDS,
    Start,
    accept,
    ours,
    stored,
    until,
    until_stored,
)
from tests.support.bench import balance, settings_for
from tests.support.doubles import DictBucket
from tests.support.s3 import FakeS3, Fault
from tests.support.s3.others import run_moto
from workers.dispatch.rate import FIRST_RETRY_AFTER, MAX_RETRY_AFTER
from workers.errors import Full, NotConfirmed, NotDurable
from workers.pipeline import Pipeline
from workers.segments.segment import Receipt
from workers.spool.counters import Field
from workers.upload.compression import unpack
from workers.upload.s3 import Bucket


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


def test_another_s3_reads_what_we_wrote(tmp_path: Path) -> None:
    """Moto, which others wrote, takes our PUTs, checks their digests, and shows what we say."""
    with run_moto() as moto:
        settings = settings_for(tmp_path, **QUICK)
        pipeline = Pipeline(settings, bucket=Bucket.connect(settings))
        pipeline.start()
        receipt = accept(pipeline, b'{"n":1}', b'{"n":2}')[0]
        pipeline.stop()
        found = moto.client.get_object(Bucket="bucket", Key=receipt.header.key)
        assert found["ContentType"] == "application/x-ndjson"
        assert found["Metadata"]["payloads"] == "2"
        text = unpack(found["Body"].read(), compression=found["ContentEncoding"])
        assert text == b'{"n":1}\n{"n":2}\n'
        pipeline.bucket.close()


def test_half_of_all_answers_lost(start: Start, s3: FakeS3) -> None:
    """A PUT that took effect though its answer was lost is found out, and counted once."""
    pipeline = start(OBJECT_MAX_PAYLOADS=1)
    before = s3.counts().requests.get("PUT", 0)
    s3.faults(Fault(kind="lose_answer", probability=0.5))
    accept(pipeline, *(b'{"n":%02d}' % number for number in range(20)))
    until_stored(pipeline, 20)
    assert stored(s3) == [b'{"n":%02d}' % number for number in range(20)]
    assert balance(pipeline.totals()) == (20, 20, 0, 0)
    assert s3.counts().requests["PUT"] - before == 20


def test_when_one_gets_through_the_waiting_try_at_once(
    start: Start, s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All jobs go on once one probe gets through; until then one at a time is tried."""
    monkeypatch.setattr(random, "uniform", lambda _, high: high)
    s3.faults(OVERLOADED)
    pipeline = start(OBJECT_MAX_PAYLOADS=1, MAX_WORKERS=4)
    accept(pipeline, *[b"{}"] * 20)
    until(lambda: sum(pipeline._backlog.counts().values()) >= 19, "parked jobs")
    s3.clear()
    until_stored(pipeline, 20)
    # Four at once, then probes at growing intervals.
    assert pipeline.totals()[Field.PUT_FAILURES_THROTTLED] < 15


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
    assert time.monotonic() - started < SECONDS
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
        pipeline._rate._finished.clear()
        pipeline._rate._finished.extend(now - idle - seconds_each * n for n in range(32, 0, -1))
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
