"""A wall clock that jumps: names still rise, and age does not depend on it."""

import time
from collections.abc import Callable

import pytest

from tests.chaos.disk.faults import stored, where
from tests.support.bench import Bench, balance
from tests.support.doubles import DictBucket
from workers.segments.naming import created_microseconds

pytestmark = pytest.mark.chaos

DAY = 86_400 * 10**9


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Hand out what sets the wall clock, in nanoseconds since 1970."""

    def set_clock(now: int) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: now)

    return set_clock


@pytest.mark.parametrize("jump", [-10_000 * DAY, -DAY, -1000, 0, 1000, DAY, 10_000 * DAY])
def test_names_rise_when_the_clock_jumps(
    make_bench: Callable[..., Bench],
    bucket: DictBucket,
    set_clock: Callable[[int], None],
    jump: int,
) -> None:
    """After a jump either way segments still sort in the order of their creation, each its own."""
    now = 1_790_000_000 * 10**9
    bench = make_bench(OBJECT_MAX_PAYLOADS=1)
    set_clock(now)
    answered = [bench.accept(b'{"n":1}')]
    set_clock(now + jump)
    answered += [bench.accept(b'{"n":2}'), bench.accept(b'{"n":3}')]
    set_clock(now)
    answered += [bench.accept(b'{"n":4}')]
    names = [given[0].header.name for given in answered]
    assert names == sorted(set(names))
    created = [created_microseconds(name) for name in names]
    assert created == sorted(set(created))
    bench.upload_all()
    assert stored(bucket) == {
        where(given)[0]: b'{"n":%d}' % number for number, given in enumerate(answered, 1)
    }
    assert balance(bench.totals()) == (4, 4, 0, 0)


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
