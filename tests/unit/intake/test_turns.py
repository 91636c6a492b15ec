"""A full queue: fresh jobs and the backlog take turns, and what holds nothing takes no place."""

import contextlib

from tests.support.bench import MakeBench
from tests.support.doubles import BadDisk
from workers.errors import Full, NotDurable


def test_in_a_full_queue_old_and_new_take_turns(make_bench: MakeBench) -> None:
    """While both wait, each place that comes free is the other's in turn."""
    bench = make_bench(MAX_QUEUE=2, OBJECT_MAX_PAYLOADS=1)
    backlog = []
    for _ in range(2):
        bench.accept(b"{}", stream="old")
        backlog.append(bench.next_job())
    for _ in range(3):
        bench.accept(b"{}", stream="new")
    went = []
    for _ in range(6):
        assert not bench.intake.wants_backlog()
        went.append(bench.next_job().segment.header.stream)
        # Fresh jobs would take every place that comes free.
        with contextlib.suppress(Full):
            bench.accept(b"{}", stream="new")
        bench.intake.seal_due()
        if backlog and bench.intake.wants_backlog():
            assert bench.intake.offer(backlog.pop())
    assert went == ["new", "new", "new", "old", "new", "old"]


def test_a_full_disk_leaves_no_empty_job(make_bench: MakeBench) -> None:
    """What the disk took nothing of is dropped without a place in the queue; later all is well."""
    disk = BadDisk()
    bench = make_bench(disk, MAX_QUEUE=1)
    disk.full = True
    for _ in range(3):
        with contextlib.suppress(NotDurable):
            bench.accept(b"{}")
    assert "No space" in str(bench.intake.refusal())
    disk.full = False
    bench.accept(b"{}")
    assert bench.jobs.empty()
    assert bench.intake.refusal() is None
    assert len(bench.process_spool.unfinished()) == 1
