"""What killed processes left: uploaded beside new traffic, by one process."""

import pytest

from tests.integration.pipeline.samples import (
    HANG,
    OVERLOADED,
    Leave,
    Start,
    accept,
    stored,
    until,
    until_stored,
)
from tests.support.bench import balance
from tests.support.s3 import FakeS3
from workers.errors import Full
from workers.intake import feeder
from workers.segments.naming import created_microseconds
from workers.spool.counters import Field
from workers.spool.spool import Spool
from workers.stores.job_source import AdoptedJobs


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
    until(
        lambda: len(list(pipeline.spool.root.glob("?" * 32))) == 1,
        "the process's spool to be retired",
    )
    assert balance(pipeline.totals()) == (25, 25, 0, 0)


def test_the_age_of_what_was_left_is_reported(
    start: Start, leave_behind: Leave, s3: FakeS3
) -> None:
    """The oldest unstored payload's age does not begin anew with its adoption."""
    left = leave_behind(2)
    s3.faults(OVERLOADED)
    pipeline = start()
    until(lambda: pipeline._source.pending == 2, "adoption")
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
    """Memory mode's budget is for this process's memory: files of others do not use it up."""
    monkeypatch.setattr(feeder, "CHECK_SECONDS", 0.01)
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


def test_one_process_adopts_a_spool(
    start: Start,
    leave_behind: Leave,
    s3: FakeS3,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Several processes look for orphans at the same time; each payload is stored once."""
    monkeypatch.setattr(AdoptedJobs, "look_seconds", 0.01)
    pipelines = [start() for _ in range(3)]
    for _ in range(4):
        leave_behind(5)
    until_stored(pipelines[0], 20)
    assert len(s3.objects()) == 20
    assert all(found.stored_count == 1 for found in s3.objects().values())
    until(lambda: balance(pipelines[0].totals()) == (20, 20, 0, 0), "balanced books")
