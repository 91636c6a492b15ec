"""The pipeline's stop: everything is stored, or kept for the next start."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.pipeline.samples import (
    OVERLOADED,
    SECONDS,
    Start,
    accept,
    hang,
    ours,
    stored,
    until,
    until_stored,
)
from tests.support import wait_until
from tests.support.bench import balance
from tests.support.s3 import FakeS3
from workers.errors import Draining
from workers.segments.naming import created_microseconds


@pytest.mark.parametrize("durability", ["disk", "memory"])
def test_a_stop_stores_everything(start: Start, s3: FakeS3, durability: str) -> None:
    """Open segments are sealed and uploaded, and nothing is left in the spool."""
    pipeline = start(DURABILITY=durability, OBJECT_MAX_AGE_SECONDS=1000)
    for stream, number in itertools.product("abc", range(3)):
        accept(pipeline, b'{"n":%d}' % number, stream=stream)
    pipeline.stop()
    assert len(s3.lines()) == 9
    assert len(s3.objects()) == 3
    assert balance(pipeline.totals()) == (9, 9, 0, 0)
    assert not pipeline.process_spool.path.exists()


def test_a_second_stop_waits_for_the_first(start: Start) -> None:
    """When `stop` returns everything is stopped, for each of its callers."""
    pipeline = start()
    accept(pipeline, b"{}")
    with ThreadPoolExecutor(3) as threads:
        for stopped in [threads.submit(pipeline.stop) for _ in range(3)]:
            stopped.result()
            assert not pipeline._threads.alive
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
    assert time.monotonic() - began < SECONDS
    # A worker in the middle of an attempt ends with that attempt.
    wait_until(lambda: ours() == set(), timeout=SECONDS, what="the end of every thread")
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
    # The last segment is counted before its file is removed and the oldest is another.
    until(lambda: successor.totals().oldest_microseconds == 0, "nothing unstored")


def test_a_put_that_hangs_does_not_hold_up_the_stop(start: Start, s3: FakeS3) -> None:
    """A worker whose PUT hangs is left behind at the deadline, and its payload is on the disk."""
    with hang(s3):
        pipeline = start(MAX_WORKERS=1, DRAIN_SECONDS=0.5)
        accept(pipeline, b"{}")
    began = time.monotonic()
    pipeline.stop()
    assert time.monotonic() - began < SECONDS
    assert ours() == {"worker-1", "dispatcher"}
    assert len(list(pipeline.process_spool.path.glob("*.ready"))) == 1
    # As if its process had lived a little longer: the PUT takes effect, and is counted.
    s3.clear()
    pipeline._threads.join(deadline=time.monotonic() + SECONDS)
    assert balance(pipeline.totals()) == (1, 1, 0, 0)
    assert stored(s3) == [b"{}"]
