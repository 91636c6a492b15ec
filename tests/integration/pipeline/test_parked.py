"""Jobs that cannot go hold nobody up: each case that once did, on a running pipeline."""

import errno
import os
import threading
from pathlib import Path

import pytest

from tests.integration.pipeline.samples import (
    Leave,
    Start,
    accept,
    ours,
    stored,
    until,
    until_stored,
)
from tests.support.bench import Bench, balance
from tests.support.doubles import DictBucket
from tests.support.s3 import FakeS3, Fault
from workers.dispatch import backoff
from workers.spool.counters import Field

DENIED = Fault(kind="error", status=403, code="AccessDenied", key_contains="denied/")


def test_segments_for_a_wrong_bucket_hold_up_nothing_new(
    start: Start, s3: FakeS3, tmp_path: Path
) -> None:
    """After a restart with the right bucket new payloads are stored; the old ones stay parked."""
    wrong = Bench(
        tmp_path / "spool", bucket=DictBucket(), OBJECT_MAX_PAYLOADS=1, S3_BUCKET="a-typo"
    )
    for number in range(10):
        wrong.accept(b'{"old":%d}' % number)
    wrong.die()
    pipeline = start(MAX_WORKERS=2)
    until(lambda: pipeline.totals()[Field.PUT_FAILURES_BUCKET] > 0, "a PUT into no bucket")
    for number in range(5):
        accept(pipeline, b'{"new":%d}' % number)
    until_stored(pipeline, 5)
    until(lambda: pipeline._backlog.counts()["bucket"] == 10, "ten parked jobs")
    assert stored(s3) == [b'{"new":%d}' % number for number in range(5)]
    assert pipeline.refusal() is None
    assert pipeline.totals().pending == 10


def test_a_denied_prefix_holds_up_no_other_stream(
    start: Start, s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other streams are stored, and what is denied costs a PUT per probe and no more."""
    monkeypatch.setattr(backoff, "delay", lambda failures: 0.5 * failures)
    s3.faults(DENIED)
    pipeline = start(MAX_WORKERS=2, OBJECT_MAX_PAYLOADS=1)
    for _ in range(8):
        accept(pipeline, b"{}", stream="denied")
    until(lambda: pipeline._backlog.counts()["denied"] >= 7, "parked jobs")
    for number in range(50):
        accept(pipeline, b'{"n":%d}' % number)
    until_stored(pipeline, 50)
    # Two at once, then one for each probe.
    assert pipeline.totals()[Field.PUT_FAILURES_DENIED] < 10
    s3.clear()
    until_stored(pipeline, 58)


def test_on_a_disk_that_removes_nothing_each_object_is_put_once(
    start: Start, s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a verified PUT only the removal is repeated, and once it works all is counted."""
    unlink = Path.unlink
    read_only = threading.Event()
    read_only.set()
    tried: list[Path] = []

    def refuse(self: Path, *, missing_ok: bool = False) -> None:
        if read_only.is_set() and self.suffix == ".ready":
            tried.append(self)
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    pipeline = start(OBJECT_MAX_PAYLOADS=1)
    for number in range(6):
        accept(pipeline, b'{"n":%d}' % number)
    until(lambda: pipeline._backlog.counts()["disk"] >= 5, "jobs that wait for the disk")
    until(lambda: len(tried) > 8, "removals that are tried again")
    assert pipeline.totals()[Field.STORED_OBJECTS] == 6
    assert balance(pipeline.totals()) == (6, 0, 6, 0)
    read_only.clear()
    until(lambda: balance(pipeline.totals()) == (6, 6, 0, 0), "removals")
    assert all(found.stored_count == 1 for found in s3.objects().values())
    assert pipeline.totals()[Field.CONFLICTS] == 0


def test_lasting_overload_starves_no_dead_process(
    start: Start, leave_behind: Leave, s3: FakeS3
) -> None:
    """While more comes in than S3 takes, what was left behind goes up in turn with it."""
    s3.faults(Fault(kind="slow", seconds=0.01))
    left = {receipt.header.key for receipt in leave_behind(60)}
    pipeline = start(MAX_WORKERS=1, MAX_QUEUE=4, OBJECT_MAX_PAYLOADS=1)
    new = 0

    def overload() -> bool:
        nonlocal new
        while pipeline.refusal() is None:
            accept(pipeline, b'{"new":1}')
            new += 1
        return left <= set(s3.objects())

    until(overload, "all that was left, under overload")
    assert new > 30


@pytest.mark.parametrize("durability", ["disk", "memory"])
def test_parked_jobs_are_tried_again_at_a_stop(start: Start, s3: FakeS3, durability: str) -> None:
    """An S3 that comes back during the stop still gets everything."""
    s3.faults(Fault(kind="error", status=503, code="SlowDown", times=5))
    pipeline = start(DURABILITY=durability, OBJECT_MAX_PAYLOADS=1, MAX_WORKERS=2)
    for number in range(8):
        accept(pipeline, b'{"n":%d}' % number)
    pipeline.stop()
    assert ours() == set()
    assert balance(pipeline.totals()) == (8, 8, 0, 0)
    assert len(stored(s3)) == 8
