"""Waits for segments to be finished: each ends once, in time, and leaves nothing behind."""

from collections.abc import Callable

import pytest

from tests.support.bench import Bench, MakeBench
from workers.errors import NotDurable
from workers.segments.finish import DurableAndFinished, Finish, Finishes, Wait
from workers.segments.future import DurabilityFuture, Run
from workers.segments.partitions import Part


class Waits:
    """Finishes with a clock, and how each wait ended."""

    def __init__(self, limit: int = 3) -> None:
        self.now = 100.0
        self.finishes = Finishes(limit=limit, clock=lambda: self.now)
        self.ended: list[tuple[str, Finish]] = []

    def begin(self, name: str, *segments: str, seconds: float = 10) -> bool:
        """Begin a wait for segments."""
        wait = Wait(seconds, lambda finish: self.ended.append((name, finish)))
        return self.finishes.add(wait, segments)

    def assert_empty(self) -> None:
        """See that nothing is kept of waits that have ended."""
        assert (self.finishes._by_name, self.finishes._by_seconds, self.finishes._count) == (
            {}, {}, 0,
        )  # fmt: skip


@pytest.fixture
def waits() -> Waits:
    """Make an empty one."""
    return Waits()


def test_a_wait_is_for_all_of_its_segments(waits: Waits) -> None:
    """A collection over several segments is stored when the last of them is."""
    assert waits.begin("both", "a", "b")
    assert waits.begin("one", "a")
    waits.finishes.finish("a", stored=True)
    assert waits.ended == [("one", Finish.STORED)]
    waits.finishes.finish("b", stored=True)
    assert waits.ended == [("one", Finish.STORED), ("both", Finish.STORED)]
    waits.finishes.finish("b", stored=True)
    assert len(waits.ended) == 2
    waits.assert_empty()


def test_one_dead_segment_ends_a_wait(waits: Waits) -> None:
    """What cannot be stored whole any more is not waited for."""
    waits.begin("both", "a", "b")
    waits.finishes.finish("b", stored=False)
    waits.finishes.finish("a", stored=True)
    assert waits.ended == [("both", Finish.DEAD)]
    waits.assert_empty()


def test_waits_expire_each_at_its_time(waits: Waits) -> None:
    """Shorter ones first, in any order of theirs; the next deadline is said."""
    assert waits.finishes.expire() is None
    waits.begin("long", "a", seconds=10)
    waits.begin("short", "a", seconds=2)
    waits.now += 1
    assert waits.finishes.expire() == 1
    waits.now += 1
    assert waits.finishes.expire() == 8
    assert waits.ended == [("short", Finish.EXPIRED)]
    waits.finishes.finish("a", stored=True)
    assert waits.ended[1:] == [("long", Finish.STORED)]
    waits.assert_empty()


def test_a_stop_ends_all_waits(waits: Waits) -> None:
    """None begins after it, and each caller is left to say so."""
    waits.begin("x", "a", "b")
    waits.finishes.close()
    assert waits.ended == [("x", Finish.NOT_AWAITED)]
    assert not waits.begin("y", "a")
    waits.finishes.end()
    waits.finishes.run()
    waits.assert_empty()


def test_waits_are_bounded(waits: Waits) -> None:
    """Beyond the limit none begins until one has ended."""
    assert [waits.begin(name, "a") for name in "wxyz"] == [True, True, True, False]
    waits.now += 10
    waits.finishes.expire()
    assert waits.begin("z", "a")


def test_a_response_that_fails_stops_no_other(
    waits: Waits, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are called, and the log has the error."""

    def fail(_: Finish) -> None:
        raise ZeroDivisionError

    waits.finishes.add(Wait(10, fail), ["a"])
    waits.begin("next", "a")
    waits.finishes.finish("a", stored=True)
    assert waits.ended == [("next", Finish.STORED)]
    assert "a response failed" in caplog.text


@pytest.mark.parametrize("durable_first", [True, False])
@pytest.mark.parametrize("finish", list(Finish))
def test_an_answer_needs_durability_and_a_finish(
    bench: Bench, finish: Finish, *, durable_first: bool
) -> None:
    """In either order, once: no response leaves before the lines are safe."""
    said: list[Finish] = []
    joined = DurableAndFinished(
        bench.finishes, seconds=1, callback=lambda _, finish: said.append(finish)
    )
    future = future_of(bench, joined)
    steps: list[Callable[[], None]] = [future.set_result, lambda: joined.wait.end(finish)]
    for step in steps if durable_first else reversed(steps):
        assert said == []
        step()
    assert said == [finish]


@pytest.mark.parametrize("when", ["before", "after", "never"])
def test_what_is_not_durable_is_answered_at_once(bench: Bench, when: str) -> None:
    """A refusal waits for no finish, and no finish brings a second response."""
    said: list[DurabilityFuture] = []
    joined = DurableAndFinished(
        bench.finishes, seconds=1, callback=lambda future, _: said.append(future)
    )
    future = future_of(bench, joined)
    bench.finishes.add(joined.wait, ["s"])
    if when == "before":
        bench.finishes.close()
    future.set_exception(NotDurable("full"))
    if when == "after":
        joined.wait.end(Finish.EXPIRED)
    assert said == [future]
    assert bench.finishes._count == 0


def future_of(bench: Bench, joined: DurableAndFinished) -> DurabilityFuture:
    """Make the future of one line."""
    segment = bench.accept(b"{}")[0].header
    found = bench.store.find(segment.name)
    assert found is not None
    return DurabilityFuture([Run(found, 1, b"{}\n", 1)], joined.on_durable)


def take(bench: Bench, waits: Waits, *streams: str) -> None:
    """Take a collection that waits, a payload for each stream."""
    wait = Wait(10, lambda finish: waits.ended.append((streams[0], finish)))
    bench.intake.take_parts([Part(stream, b"{}\n", 1) for stream in streams], wait=wait)


def test_waiting_requests_share_a_segment_that_is_sealed_soon(
    make_bench: MakeBench, waits: Waits
) -> None:
    """The first sets the time, and the others do not put it off; each hears of its object."""
    bench = make_bench(OBJECT_MAX_AGE_SECONDS=100, STORED_MAX_WAIT_SECONDS=5)
    bench.accept(b"{}", stream="a")
    for _ in range(50):
        take(bench, waits, "a")
    take(bench, waits, "b", "c")
    due = bench.intake.seal_due()
    assert due is not None
    assert 4 < due <= 5
    assert bench.jobs.empty()
    for segment in bench.process_spool.unfinished():
        segment.seal_by -= 5
    bench.intake.seal_due()
    assert bench.jobs.qsize() == 3
    bench.upload_all()
    assert waits.ended == [("a", Finish.STORED)] * 50 + [("b", Finish.STORED)]
    assert bench.finishes._count == 0


def test_a_wait_that_cannot_begin_hastens_nothing(make_bench: MakeBench, waits: Waits) -> None:
    """After a stop, or where too many wait, the collection is taken as any other."""
    bench = make_bench(OBJECT_MAX_AGE_SECONDS=100)
    bench.finishes.close()
    take(bench, waits, "a")
    assert waits.ended == [("a", Finish.NOT_AWAITED)]
    due = bench.intake.seal_due()
    assert due is not None
    assert due > 90
