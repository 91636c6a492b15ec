"""The feeder: what it offers to the queue, and how long it rests."""

from tests.support.bench import Bench, MakeBench
from workers.errors import StoreUnavailable
from workers.intake.feeder import CHECK_SECONDS
from workers.segments.naming import created_microseconds
from workers.spool.counters import Field

AWAY = StoreUnavailable("SlowDown", reason="throttled")


def park(bench: Bench, *, stream: str = "s") -> str:
    """Park one job that failed; return its segment's name."""
    bench.accept(b"{}", stream=stream)
    bench.age()
    job = bench.next_job()
    assert bench.backlog.admit(job)
    bench.backlog.failed(job, AWAY)
    return job.segment.name


def test_a_parked_job_comes_back_whole(make_bench: MakeBench) -> None:
    """Only its name is in memory meanwhile; its file has the rest."""
    bench = make_bench()
    name = park(bench)
    assert bench.process_spool.unfinished() == []
    assert bench.process_spool.held(name) is None
    oldest = bench.store.counters[Field.OLDEST_MICROSECONDS]
    assert oldest == created_microseconds(name)
    bench.process_spool.publish_oldest()
    assert bench.store.counters[Field.OLDEST_MICROSECONDS] == oldest
    held = bench.store.counters
    before = held.snapshot()
    bench.feeder.feed()
    assert bench.jobs.empty()
    bench.now += 60
    bench.feeder.feed()
    job = bench.next_job()
    assert job.segment.name == name
    assert job.segment.lines == 1
    assert held.snapshot() == before
    bench.upload(job)
    assert bench.process_spool.empty
    assert len(bench.bucket.objects) == 1


def test_a_full_queue_is_not_asked_again_and_again(make_bench: MakeBench) -> None:
    """What is due waits for room, which wakes the feeder; without room it rests."""
    bench = make_bench(MAX_QUEUE=1, OBJECT_MAX_PAYLOADS=1)
    park(bench)
    bench.accept(b"{}", stream="other")
    assert bench.jobs.full()
    bench.now += 60
    bench.feeder.feed()
    assert bench.backlog.next_due() == 0.0
    assert bench.feeder.pause(None) == CHECK_SECONDS
    bench.next_job()
    bench.intake.on_room()
    bench.feeder.feed()
    assert bench.jobs.full()


def test_it_rests_until_the_next_try(make_bench: MakeBench) -> None:
    """The earlier of the next seal and the next probe ends the rest, or a second."""
    bench = make_bench()
    park(bench)
    due = bench.backlog.next_due()
    assert due is not None
    assert 0 < due < CHECK_SECONDS
    assert bench.feeder.pause(None) == due
    assert bench.feeder.pause(due / 2) == due / 2


def test_a_segment_of_a_failing_cause_fills_up(make_bench: MakeBench) -> None:
    """In an outage objects grow: an open segment is not sealed by its age alone."""
    bench = make_bench()
    park(bench)
    bench.accept(b"{}")
    bench.age()
    assert bench.jobs.empty()
    bench.now += 60
    bench.feeder.feed()
    probe = bench.next_job()
    bench.upload(probe)
    bench.backlog.succeeded(probe, has_put=True)
    bench.age()
    assert bench.jobs.qsize() == 1


def test_figures_say_what_is_parked(make_bench: MakeBench) -> None:
    """By reason, for the metrics."""
    bench = make_bench()
    park(bench)
    bench.feeder.check()
    assert bench.store.counters[Field.PARKED_THROTTLED] == 1
