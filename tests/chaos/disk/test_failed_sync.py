"""A sync that fails, and one that takes long: no answer before it, none after a failure."""

import queue
import threading
import time
from pathlib import Path

import pytest

from tests.chaos.disk.faults import MAX_WAIT_SECONDS, FaultyDisk, stored, where
from tests.support import wait_until
from tests.support.bench import Bench, balance, settings_for
from tests.support.doubles import DictBucket
from workers.errors import NotConfirmed, NotDurable
from workers.pipeline import Pipeline

pytestmark = pytest.mark.chaos


def test_after_a_failed_sync_nothing_is_accepted(
    pipeline: Pipeline, disk: FaultyDisk, caplog: pytest.LogCaptureFixture
) -> None:
    """EIO from fsync: no 202 for it, none after it, not ready, and a critical line in the log."""
    pipeline.take("s", b"1\n", count=1).result()
    assert pipeline.refusal() is None
    disk.failing = True
    with pytest.raises(NotConfirmed):
        pipeline.take("s", b"2\n", count=1).result()
    # The disk seems well again; a sync that succeeds now would say nothing of the pages before.
    disk.failing = False
    with pytest.raises(NotDurable):
        pipeline.take("s", b"3\n", count=1).result()
    with pytest.raises(NotDurable):
        pipeline.take("another", b"4\n", count=1).result()
    assert "Input/output error" in str(pipeline.refusal())
    assert [record.message for record in caplog.records if record.levelname == "CRITICAL"] == [
        "spool broken"
    ]


def test_a_failed_sync_keeps_what_was_answered_for(
    tmp_path: Path, bucket: DictBucket, disk: FaultyDisk
) -> None:
    """It stays on the disk and is stored after the next start; what was refused is gone."""
    settings = settings_for(tmp_path / "spool", DRAIN_SECONDS=MAX_WAIT_SECONDS)
    pipeline = Pipeline(settings, bucket=bucket)
    pipeline.start()
    kept = pipeline.take("s", b"kept\n", count=1).result()
    disk.failing = True
    with pytest.raises(NotConfirmed):
        pipeline.take("s", b"refused\n", count=1).result()
    began = time.monotonic()
    pipeline.stop()
    # The stop does not wait for a segment that can no longer be frozen.
    assert time.monotonic() - began < MAX_WAIT_SECONDS / 2
    assert bucket.objects == {}
    disk.failing = False
    after = Bench(tmp_path / "spool", bucket=bucket)
    after.adopt()
    after.upload_all()
    assert stored(bucket) == {where(kept)[0]: b"kept"}
    assert balance(after.totals()) == (1, 1, 0, 0)


def test_no_answer_overtakes_its_sync(pipeline: Pipeline, disk: FaultyDisk) -> None:
    """While a sync lasts no request is answered; later ones wait for the next sync."""
    answered: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def post(line: bytes) -> None:
        pipeline.take("s", line, count=1).result()
        answered.put(line)

    disk.slow = True
    first = threading.Thread(target=post, args=(b"1\n",))
    first.start()
    first_sync = disk.syncing.get(timeout=MAX_WAIT_SECONDS)
    others = [threading.Thread(target=post, args=(line,)) for line in (b"2\n", b"3\n")]
    for thread in others:
        thread.start()
    inbox = pipeline._committer._inbox  # type: ignore[attr-defined]
    wait_until(lambda: inbox.qsize() == 2, timeout=MAX_WAIT_SECONDS, what="two more to commit")
    assert answered.empty()
    first_sync.set()
    second_sync = disk.syncing.get(timeout=MAX_WAIT_SECONDS)
    first.join(MAX_WAIT_SECONDS)
    assert answered.get_nowait() == b"1\n"
    assert answered.empty()
    disk.slow = False
    second_sync.set()
    for thread in others:
        thread.join(MAX_WAIT_SECONDS)
    assert {answered.get_nowait(), answered.get_nowait()} == {b"2\n", b"3\n"}
