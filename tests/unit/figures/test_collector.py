"""What a process shows: taken from its parts, without a thread."""

from collections.abc import Callable

import pytest

from tests.support.bench import Bench, MakeBench
from workers.dispatch.jobs import Job, Outcome, Pool
from workers.dispatch.worker import Worker
from workers.errors import StoreUnavailable
from workers.figures import collector
from workers.figures.collector import Collector
from workers.figures.place import LocalPlace
from workers.figures.published import read_processes


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    """Make a pipeline in pieces."""
    return make_bench(MAX_QUEUE=5)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let the collector's clock go on by seconds, and by nothing else."""
    now = [1000.0]
    monkeypatch.setattr(collector.time, "monotonic", lambda: now[0])  # type: ignore[attr-defined]

    def go_on(seconds: float) -> None:
        now[0] += seconds

    return go_on


def make(bench: Bench, *workers: Worker) -> Collector:
    """Make what collects that pipeline's figures."""
    return Collector(
        LocalPlace(bench.spool.root, totals=bench.totals),
        role="all",
        workers=workers,
        intake=bench.intake,
        backlog=bench.backlog,
        jobs=bench.jobs,
    )


def test_streams_have_rates_and_what_is_open(bench: Bench, clock: Callable[[float], None]) -> None:
    """A stream's rate follows what its open and ended segments took in, and goes down to none."""
    figures = make(bench)
    for _ in range(30):
        for n in range(10):
            bench.accept(b'{"n": %d}' % n, stream="busy")
        bench.age()
        while not bench.jobs.empty():
            bench.upload(bench.next_job())
        bench.accept(b"{}", stream="open")
        clock(1.0)
        streams = figures.collect().streams
    busy, other = streams
    assert busy.stream == "busy"
    assert busy.payloads_per_second == pytest.approx(10, rel=0.1)
    assert busy.bytes_per_second == pytest.approx(90, rel=0.1)
    assert (busy.open_segments, busy.open_since) == (0, None)
    assert (other.stream, other.open_segments, other.open_payloads) == ("open", 1, 1)
    assert other.open_since is not None
    for _ in range(60):
        clock(1.0)
        streams = figures.collect().streams
    assert [each.stream for each in streams] == ["open"]
    assert streams[0].payloads_per_second < 0.01


def test_very_many_streams_are_summed_up_less_often(
    bench: Bench, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shown is bounded, and so is the time that it takes a second."""
    monkeypatch.setattr(collector, "MAX_STREAMS_SHOWN", 3)
    monkeypatch.setattr(collector, "SEGMENTS_A_SECOND", 2)
    for n in range(6):
        bench.accept(b"{}", stream=f"s{n}")
    figures = make(bench)
    first = figures.collect()
    assert len(first.streams) == 3
    assert first.open_segments == 6
    clock(2.0)
    assert figures.collect().streams is first.streams
    clock(1.5)
    assert figures.collect().streams is not first.streams


def test_a_worker_shows_its_attempt_and_its_last_error(bench: Bench) -> None:
    """While it uploads: the segment, which attempt, since when. Afterwards why it failed."""
    seen = []

    def upload(_: object) -> None:
        seen.append(figures.collect())
        raise StoreUnavailable("S3 is away", reason="network")

    worker = Worker(
        idle=Pool(),
        upload=upload,
        backlog=bench.backlog,
        on_idle=lambda _: None,
        on_settled=lambda: None,
    )
    figures = make(bench, worker)
    bench.accept(b"{}", b"{}")
    bench.age()
    job = bench.next_job()
    for _ in range(2):
        worker.attempt(job)
        bench.now += 60
        parked = bench.backlog.next()
        assert parked is not None
        found = bench.store.load(parked)
        assert found is not None
        job = found
    works = [each.workers[0].work for each in seen]
    assert [(work.attempt, work.payloads) for work in works if work] == [(1, 2), (2, 2)]
    after = figures.collect()
    failure = after.workers[0].last_failure
    assert failure is not None
    assert failure.error == "S3 is away"
    assert failure.object.startswith("s3://bucket/s/")
    [cause] = after.causes
    assert (cause.key, cause.reason, cause.failures) == (("s3", "bucket"), "network", 2)
    assert cause.error == "S3 is away"


def test_the_last_objects_outlive_the_process(bench: Bench) -> None:
    """What was stored is shown, newest first, by the next process too."""
    figures = make(bench)
    for n in range(60):
        [receipt] = bench.accept(b"{}", stream=f"s{n}")
        segment = bench.process_spool.held(receipt.header.name)
        assert segment is not None
        job = Job(segment, bench.process_spool)
        figures.stored(job, 0)
        job.outcome = Outcome(stored=1, dead=0)
        figures.stored(job, 21)
    figures.publish()
    [shown] = read_processes(bench.spool.root)
    assert [each.stream for each in shown.objects] == [f"s{n}" for n in range(59, 9, -1)]
    assert (shown.objects[0].stored_size, shown.objects[0].payloads) == (21, 1)
    figures.close()
    assert read_processes(bench.spool.root) == []
    successor = make(bench)
    for _ in range(2):
        successor.publish()
    [shown] = read_processes(bench.spool.root)
    assert len(shown.objects) == 50
