"""Names and keys: sorted by time, unique, and fixed for ever at their creation."""

import time

import pytest

from workers.segments.naming import (
    NAME,
    STREAM,
    Clock,
    created_microseconds,
    segment_name,
)

MOMENT = 1_700_000_000_123_456


def test_the_clock_rises_though_time_jumps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two segments never share a creation time, even if NTP sets the clock back."""
    moments = iter([5_000, 5_000, 1_000, 9_000])
    monkeypatch.setattr(time, "time_ns", lambda: next(moments))
    clock = Clock()
    assert [clock.tick() for _ in range(4)] == [5, 6, 7, 9]


def test_names_sort_by_creation() -> None:
    """A listing of a directory, or of the bucket, is in the order of creation."""
    moments = [0, 1, 999_999, 1_000_000, MOMENT, MOMENT + 1, 4_000_000_000_000_000]
    names = [segment_name(moment) for moment in moments]
    assert names == sorted(names)
    assert all(NAME.fullmatch(name) for name in names)
    assert [created_microseconds(name) for name in names] == moments


def test_names_of_one_moment_differ() -> None:
    """Two processes that start a segment in the same microsecond do not collide."""
    assert len({segment_name(MOMENT) for _ in range(100)}) == 100


@pytest.mark.parametrize("stream", ["a", "0", "a-b_c", "x" * 64, "_", "_deadly", "a_dead", "dead"])
def test_names_of_streams(stream: str) -> None:
    """A stream's name is 1 to 64 of a-z 0-9 _ and -."""
    assert STREAM.fullmatch(stream)


@pytest.mark.parametrize(
    "stream", ["", "A", "a b", "a/b", "..", "é", "x" * 65, "a\n", "_dead", "_watermark"]
)
def test_what_is_no_name_of_a_stream(stream: str) -> None:
    """Nothing that could climb out of its prefix in the bucket, nor a prefix of our own."""
    assert not STREAM.fullmatch(stream)
