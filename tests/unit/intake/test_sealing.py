"""When segments become jobs: by age, when there is room, and at a stop."""

from tests.support.bench import Bench, MakeBench
from tests.unit.intake.samples import places


def test_age_seals_while_there_is_room(make_bench: MakeBench) -> None:
    """Old segments become jobs, oldest first, as far as the queue has room for them."""
    bench = make_bench(MAX_QUEUE=2)
    names = [bench.accept(b"{}", stream=stream)[0].header.name for stream in "abc"]
    bench.age()
    assert [bench.next_job().segment.name for _ in range(2)] == names[:2]
    assert bench.jobs.empty()
    bench.intake.seal_due()
    assert bench.next_job().segment.name == names[2]


def test_it_says_when_the_next_is_due(make_bench: MakeBench) -> None:
    """The sealer learns how long to sleep: until the oldest segment is old enough."""
    bench = make_bench(OBJECT_MAX_AGE_SECONDS=100)
    assert bench.intake.seal_due() is None
    for stream in "ab":
        bench.accept(b"{}", stream=stream)
    old, young = bench.process_spool.unfinished()
    old.created_at -= 60
    young.created_at -= 30
    due = bench.intake.seal_due()
    assert due is not None
    assert 39 < due <= 40
    old.created_at -= 60
    due = bench.intake.seal_due()
    assert due is not None
    assert 69 < due <= 70
    bench.intake.close()
    assert bench.intake.seal_due() is None


def test_a_segment_that_waits_for_room_waits_for_nothing_else(make_bench: MakeBench) -> None:
    """With the queue full no time is named: it is room that will wake the sealer."""
    bench = make_bench(MAX_QUEUE=1, OBJECT_MAX_PAYLOADS=1)
    places(bench, 1, 1)
    assert bench.intake.seal_due() is None
    bench.next_job()
    bench.intake.wait_due(0)
    bench.intake.on_room()
    assert bench.intake._woken


def test_room_that_is_not_awaited_wakes_no_thread(bench: Bench) -> None:
    """On a quiet day a finished job costs no wake-up."""
    bench.accept(b"{}")
    bench.intake.wait_due(0)
    bench.intake.on_room()
    assert not bench.intake._woken


def test_room_that_a_backlog_waits_for_wakes_the_sealer(make_bench: MakeBench) -> None:
    """Adopted segments go on as soon as the queue is half empty, not at the next look."""
    bench = make_bench(MAX_QUEUE=3, OBJECT_MAX_PAYLOADS=1)
    places(bench, 1, 1)
    bench.intake.seal_due()
    bench.intake.wait_due(0)
    assert not bench.intake.wants_backlog()
    bench.next_job()
    bench.intake.on_room()
    assert bench.intake._woken
    assert bench.intake.wants_backlog()


def test_nothing_goes_behind_lines_that_were_lost(bench: Bench) -> None:
    """A segment that lost lines takes no more, even before the sealer has seen it."""
    first = bench.accept(b"{}")[0]
    [segment] = bench.process_spool.unfinished()
    segment.write_failed = True
    second = bench.accept(b"{}")[0]
    assert second.header.name != first.header.name
    assert bench.next_job().segment is segment


def test_an_offer_is_taken_while_there_is_room(make_bench: MakeBench) -> None:
    """An adopted job never squeezes into a full queue."""
    bench = make_bench(MAX_QUEUE=3, OBJECT_MAX_PAYLOADS=1)
    assert bench.intake.wants_backlog()
    places(bench, 1, 1)
    assert not bench.intake.wants_backlog()
    job = bench.next_job()
    assert bench.intake.offer(job)
    bench.accept(b"{}")
    assert bench.jobs.full()
    assert not bench.intake.offer(job)


def test_a_stop_freezes_what_is_open(make_bench: MakeBench) -> None:
    """Every open segment is frozen and handed over, whether the queue has room for it or not."""
    bench = make_bench(MAX_QUEUE=1)
    names = [bench.accept(b"{}", stream=stream)[0].header.name for stream in "abc"]
    bench.intake.close()
    assert [job.segment.name for job in bench.intake.freeze_all()] == names
    assert bench.intake.freeze_all() == []
    assert bench.jobs.empty()
    assert [file.path.suffix for file in bench.process_spool.segment_files()] == [".ready"] * 3
    assert len(bench.process_spool.unfinished()) == 3
