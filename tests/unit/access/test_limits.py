"""Limits of keys: how much passes in a time, over one process and over several."""

import random
from pathlib import Path

import pytest

from app.access.key_usage import FILE_NAME, KEYS, KeyUsage, SharedUsage, Use
from app.access.limits import Limiter, TooManyRequests
from app.access.rules import Key, StreamPatterns


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def key(requests: float | None = None, size: float | None = None) -> Key:
    """Return a key with limits."""
    return Key(
        name="k", scope="write", streams=StreamPatterns(), requests_per_second=requests,
        bytes_per_second=size,
    )  # fmt: skip


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still until a test moves it."""
    return Clock()


def processes(tmp_path: Path, clock: Clock, count: int) -> list[tuple[SharedUsage, Limiter]]:
    """Return the limiters of several processes that see each other's use."""
    paths = [tmp_path / f"{n}-{FILE_NAME}" for n in range(count)]
    made = [SharedUsage(KeyUsage.create(path)) for path in paths]
    for usage, own in zip(made, paths, strict=True):
        usage.own.add("k", Use.REQUESTS, 0)
        usage.look(path for path in paths if path != own)
    for usage in made:
        usage.look([path for path in paths if path != paths[made.index(usage)]])
    return [(usage, Limiter(usage, clock=clock)) for usage in made]


def passes(process: tuple[SharedUsage, Limiter], key: Key) -> bool:
    """Send one request; count it if it passes."""
    usage, limiter = process
    try:
        limiter.begin(key)
    except TooManyRequests:
        return False
    usage.own.add("k", Use.REQUESTS)
    return True


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_limit_holds_over_all_processes(tmp_path: Path, clock: Clock, count: int) -> None:
    """Over ten seconds at most 10 % more than the limit pass, and at least 90 % of it."""
    made = processes(tmp_path, clock, count)
    chance, passed = random.Random(7), 0
    for _ in range(10_000):
        clock.now += 0.001
        passed += passes(chance.choice(made), key(requests=100))
    assert 900 <= passed <= 1100


def test_bytes_are_paid_back_by_time(tmp_path: Path, clock: Clock) -> None:
    """A body larger than the limit passes once, and the next waits until it is paid."""
    [(_, limiter)] = processes(tmp_path, clock, 1)
    limited = key(size=1000)
    limiter.begin(limited)
    limiter.charge(limited, 5000)
    with pytest.raises(TooManyRequests) as caught:
        limiter.begin(limited)
    assert caught.value.headers["Retry-After"] == "5"
    clock.now += 4.6
    limiter.begin(limited)


def test_a_process_that_ends_gives_nothing_back(tmp_path: Path, clock: Clock) -> None:
    """What a process that is gone had let through is not let through again."""
    first, second = processes(tmp_path, clock, 2)
    limited = key(requests=10)
    assert sum(passes(first, limited) for _ in range(10)) == 5
    assert sum(passes(second, limited) for _ in range(10)) == 1
    second[0].look([])
    assert not passes(second, limited)


def test_a_key_without_limits_is_not_counted(tmp_path: Path, clock: Clock) -> None:
    """No limit, no refusal, however many requests."""
    made = processes(tmp_path, clock, 1)
    assert all(passes(made[0], key()) for _ in range(10_000))


def test_the_file_is_read_by_name(tmp_path: Path) -> None:
    """Another process finds a key's counters, also of a key that came later."""
    path = tmp_path / FILE_NAME
    own = KeyUsage.create(path)
    own.add("first", Use.BYTES, 7)
    other = KeyUsage.open(path)
    assert other is not None
    own.add("second", Use.REFUSED_429)
    assert other.totals()["first"][Use.BYTES] == 7
    assert other.totals()["second"][Use.REFUSED_429] == 1


def test_more_keys_than_rows_cost_nothing(tmp_path: Path) -> None:
    """Beyond the file's rows a key is not counted, and the file stays as it is."""
    own = KeyUsage.create(tmp_path / FILE_NAME)
    for number in range(KEYS + 10):
        own.add(f"key-{number}", Use.REQUESTS)
    assert len(own.totals()) == KEYS


@pytest.mark.parametrize("content", [None, b"", b"x" * 100])
def test_what_is_no_such_file_is_passed_over(tmp_path: Path, content: bytes | None) -> None:
    """A missing, empty or foreign file is no error."""
    path = tmp_path / FILE_NAME
    if content is not None:
        path.write_bytes(content)
    assert KeyUsage.open(path) is None
