"""What the intake refuses, and what a client learns."""

import pytest

from tests.support.bench import Bench, MakeBench, balance
from tests.support.doubles import BadDisk, DictBucket
from tests.unit.intake.samples import flood, payloads, places
from workers.errors import Draining, Full, NotConfirmed, NotDurable, TooManyPayloads
from workers.intake import intake
from workers.spool.counters import Field


def test_a_disk_that_stands_still_does_not_fill_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that wait for it are bounded; as soon as it goes on, more are taken."""
    monkeypatch.setattr(intake, "MAX_WAITING_BYTES", 100)
    monkeypatch.setattr(type(bench.committer), "waiting_bytes", 101)
    with pytest.raises(Full, match="the disk is behind"):
        bench.accept(b"{}")
    assert bench.intake.refusal() == "the disk is behind"
    monkeypatch.setattr(type(bench.committer), "waiting_bytes", 100)
    bench.accept(b"{}")
    assert bench.intake.refusal() is None


def test_capacity_is_the_queue_and_the_open_segment(make_bench: MakeBench) -> None:
    """MAX_QUEUE jobs and one open segment are accepted, not one more; room again is used again."""
    bench = make_bench(MAX_QUEUE=3, OBJECT_MAX_PAYLOADS=1)
    places(bench, 1, 1, 1, 1)
    assert bench.intake.refusal() == "the queue and an open segment are full"
    for _ in range(2):
        with pytest.raises(Full, match="queue is full"):
            bench.accept(b"{}")
    bench.next_job()
    assert bench.intake.refusal() is None
    bench.accept(b"{}")
    assert balance(bench.totals())[0] == 5


def test_what_never_fits_is_refused_for_good(make_bench: MakeBench) -> None:
    """A collection larger than all the room there is gets no `come back later`."""
    bench = make_bench(MAX_QUEUE=3, OBJECT_MAX_PAYLOADS=2)
    with pytest.raises(TooManyPayloads, match="9 payloads"):
        bench.accept(*payloads(9))
    assert len(bench.accept(*payloads(8))) == 4
    with pytest.raises(Full):
        bench.accept(*payloads(8))


def test_more_bytes_than_half_the_budget_never_fit(make_bench: MakeBench) -> None:
    """Half of the byte budget is the most that one collection may take."""
    bench = make_bench(SPOOL_MAX_BYTES=1 << 20)
    with pytest.raises(TooManyPayloads):
        bench.accept(*payloads(6000, size=100))


def test_the_byte_budget_is_kept(make_bench: MakeBench) -> None:
    """What waits for a stuck S3 never takes more than the settings allow."""
    bench = make_bench(SPOOL_MAX_BYTES=1 << 20)
    with pytest.raises(Full, match="byte budget"):
        flood(bench, *payloads(100, size=100))
    held = bench.process_spool.counters[Field.HELD_BYTES]
    assert 0.9 * (1 << 20) < held <= 1 << 20
    bench.upload_all()
    assert bench.process_spool.counters[Field.HELD_BYTES] == 0
    assert bench.intake.refusal() is None
    bench.accept(b"{}")


def test_what_others_hold_counts(make_bench: MakeBench) -> None:
    """The spool's budget is for all processes together."""
    bench = make_bench(SPOOL_MAX_BYTES=1 << 20)
    other = make_bench()
    other.process_spool.counters[Field.HELD_BYTES] = (1 << 20) - 5000
    bench.store.check()
    bench.accept(b"{}")
    with pytest.raises(Full, match="byte budget"):
        bench.accept(*payloads(100, size=100))
    assert bench.intake.refusal() == "the byte budget is used up"


def test_tiny_payloads_are_bounded_too(make_bench: MakeBench) -> None:
    """What a segment costs beside its bytes counts: one payload an object is not free."""
    bench = make_bench(SPOOL_MAX_BYTES=1 << 20, OBJECT_MAX_PAYLOADS=1, MAX_QUEUE=100_000)
    with pytest.raises(Full, match="byte budget"):
        flood(bench, b"{}")
    assert bench.jobs.qsize() < 300


def test_streams_are_bounded(make_bench: MakeBench) -> None:
    """Beyond `MAX_STREAMS` the least recently used one is sealed; known streams go on."""
    bench = make_bench(MAX_STREAMS=2, MAX_QUEUE=1)
    for stream in ("a", "b", "a", "c"):
        bench.accept(b"{}", stream=stream)
    assert bench.intake.refusal() == "the queue is full and 2 streams are open already"
    with pytest.raises(Full, match="queue is full"):
        bench.accept(b"{}", stream="d")
    bench.accept(b"{}", stream="a")
    assert bench.next_job().segment.header.stream == "b"
    bench.accept(b"{}", stream="d")
    assert bench.next_job().segment.header.stream == "c"


def test_a_stop_refuses(bench: Bench) -> None:
    """Nothing comes in once the stop has begun."""
    bench.accept(b"{}")
    bench.intake.close()
    assert bench.intake.refusal() == "stopping"
    with pytest.raises(Draining):
        bench.accept(b"{}")
    bench.intake.wait_due(None)


def test_a_broken_spool_refuses(make_bench: MakeBench) -> None:
    """After a failed sync readiness says why, and nothing more is tried on that disk."""
    disk = BadDisk()
    bench = make_bench(disk)
    disk.failing = True
    with pytest.raises(NotConfirmed):
        bench.accept(b"{}")
    disk.failing = False
    with pytest.raises(NotDurable, match="restart"):
        bench.accept(b"{}")
    assert "restart" in str(bench.intake.refusal())
    assert balance(bench.totals()) == (0, 0, 0, 0)


def test_a_full_disk_refuses_until_there_is_room(make_bench: MakeBench, bucket: DictBucket) -> None:
    """ENOSPC is a refusal like any other: what was there is stored, and then it goes on."""
    disk = BadDisk()
    bench = make_bench(disk)
    first = bench.accept(b'{"n":1}')[0]
    disk.full = True
    with pytest.raises(NotDurable, match="No space"):
        bench.accept(b'{"n":2}')
    disk.full = False
    after = bench.accept(b'{"n":3}')[0]
    assert after.header.name != first.header.name
    assert after.first_line == 1
    bench.upload_all()
    assert balance(bench.totals()) == (2, 2, 0, 0)
    assert len(bucket.objects) == 2
    assert bench.process_spool.counters[Field.HELD_BYTES] == 0
