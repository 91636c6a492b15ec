"""The ledger and the receipts, across processes and machines."""

import threading
import time
from pathlib import Path
from typing import Self

import pytest

from tests.integration.pipeline.samples import Leave, Start, accept, hang, until, until_stored
from tests.support.bench import balance
from tests.support.s3 import FakeS3, Fault
from workers.spool.spool import Spool


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
def test_the_ledger_balances_at_every_moment(
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
    """Every machine that shares the bucket knows why S3 refused a payload."""
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
