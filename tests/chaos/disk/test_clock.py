"""A wall clock that jumps: names follow it and stay unique, and age does not depend on it."""

import time
from collections.abc import Callable

import pytest

from tests.chaos.disk.faults import stored, where
from tests.support.bench import Bench, balance
from tests.support.doubles import DictBucket
from workers.segments.naming import ADJUSTED_MICROSECONDS, Clock, created_microseconds

pytestmark = pytest.mark.chaos

DAY = 86_400 * 10**9


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Hand out what sets the wall clock, in nanoseconds since 1970."""

    def set_clock(now: int) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: now)

    return set_clock


@pytest.mark.parametrize("jump", [-10_000 * DAY, -DAY, -1000, 0, 1000, DAY, 10_000 * DAY])
def test_names_follow_the_clock(
    make_bench: Callable[..., Bench],
    bucket: DictBucket,
    set_clock: Callable[[int], None],
    jump: int,
) -> None:
    """A clock that was wrong moves names and keys while it is, and no longer; each is its own."""
    now = 1_790_000_000 * 10**9
    bench = make_bench(OBJECT_MAX_PAYLOADS=1)
    answered, asked = [], [now, now + jump, now + jump, now]
    for number, moment in enumerate(asked, 1):
        set_clock(moment)
        answered.append(bench.accept(b'{"n":%d}' % number))
    names = [given[0].header.name for given in answered]
    assert len(set(names)) == 4
    created = [created_microseconds(name) for name in names]
    assert created == pytest.approx([moment / 1000 for moment in asked], abs=ADJUSTED_MICROSECONDS)
    # But for a clock that is set back they rise.
    assert created[1] < created[2]
    bench.upload_all()
    assert stored(bucket) == {
        where(given)[0]: b'{"n":%d}' % number for number, given in enumerate(answered, 1)
    }
    assert balance(bench.totals()) == (4, 4, 0, 0)


@pytest.mark.parametrize("step", [1, ADJUSTED_MICROSECONDS])
def test_names_rise_while_the_clock_is_adjusted(
    set_clock: Callable[[int], None], step: int
) -> None:
    """A clock that goes back a little, as NTP lets it, changes no order."""
    now = 1_790_000_000 * 10**9
    clock = Clock()
    set_clock(now)
    first = clock.tick()
    set_clock(now - step * 1000)
    assert clock.tick() == first + 1


def test_a_name_from_the_future_is_not_young_without_end(
    make_bench: Callable[..., Bench], set_clock: Callable[[int], None]
) -> None:
    """What a wrong clock named is as old as its process knows, whatever its name says."""
    now = time.time_ns()
    bench = make_bench()
    set_clock(now + DAY)
    bench.accept(b"{}")
    set_clock(now)
    bench.accept(b"{}", stream="t")
    oldest = bench.totals().oldest_microseconds
    assert now // 1000 - 60 * 10**6 < oldest <= now // 1000


def test_a_clock_that_went_back_over_a_restart(
    make_bench: Callable[..., Bench], bucket: DictBucket, set_clock: Callable[[int], None]
) -> None:
    """A process that starts in the past of the last one stores under names of its own."""
    now = 1_790_000_000 * 10**9
    set_clock(now)
    bench = make_bench()
    answered = {where(bench.accept(b'{"n":1}'))[0]: b'{"n":1}'}
    bench.die()
    set_clock(now - DAY)
    after = make_bench()
    answered[where(after.accept(b'{"n":2}'))[0]] = b'{"n":2}'
    set_clock(now)
    answered[where(after.accept(b'{"n":3}', stream="t"))[0]] = b'{"n":3}'
    after.adopt()
    after.upload_all()
    assert len(answered) == 3
    assert stored(bucket) == answered
    assert len({key.partition("dt=")[2][:10] for key, _ in answered}) == 2
    assert balance(after.totals()) == (3, 3, 0, 0)


def test_age_is_not_the_wall_clocks_business(
    make_bench: Callable[..., Bench], set_clock: Callable[[int], None]
) -> None:
    """A jump of a year neither seals a young segment nor keeps an old one open."""
    bench = make_bench(OBJECT_MAX_AGE_SECONDS=60)
    bench.accept(b'{"n":1}')
    set_clock(time.time_ns() + 365 * DAY)
    due = bench.intake.seal_due()
    assert due is not None
    assert 0 < due <= 60
    assert bench.jobs.empty()
    set_clock(time.time_ns() - 2 * 365 * DAY)
    bench.age()
    assert bench.jobs.qsize() == 1
