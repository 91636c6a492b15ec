"""Names and keys: sorted by time, unique, and fixed for ever at their creation."""

import time

import pytest

from workers.segments.naming import (
    MAX_KEY_BYTES,
    NAME,
    STREAM,
    Clock,
    check_template,
    created_microseconds,
    default_template,
    object_key,
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


def test_a_key_has_the_date_of_its_name() -> None:
    """A segment uploaded a year later goes under the hour of its creation (UTC)."""
    name = "20231114T221320123456Z-0123456789abcdef"
    key = object_key(default_template("gzip"), stream="clicks", name=name)
    assert key == f"clicks/dt=2023-11-14/hour=22/{name}.ndjson.gz"


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_the_default_templates_pass_their_own_check(compression: str) -> None:
    """The defaults are held to the rules for everybody's templates."""
    check_template(default_template(compression))


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{stream}/x", "needs {segment}"),
        ("{segment}/{day}", "unknown field"),
        ("{segment}/{}", "unknown field"),
        ("{segment}/{0}", "unknown field"),
        ("{segment.__class__}", "unknown field"),
        ("{segment:>99}", "no format"),
        ("{segment!r}", "no format"),
        ("{segment", "expected"),
        ("/{segment}", "do not begin"),
        ("{segment}" + "x" * MAX_KEY_BYTES, "at most"),
        ("{segment}" + "ü" * (MAX_KEY_BYTES // 2), "at most"),
    ],
)
def test_a_template_that_would_go_wrong_is_refused(template: str, reason: str) -> None:
    """A bad template fails at the start and not at the first upload."""
    with pytest.raises(ValueError, match=reason):
        check_template(template)


def test_braces_can_be_written_twice() -> None:
    """A literal brace is spelt as in Python's formats."""
    check_template("{{x}}/{segment}")
    assert object_key("{{x}}/{segment}", stream="s", name="n") == "{x}/n"


@pytest.mark.parametrize("stream", ["a", "0", "a-b_c", "x" * 64])
def test_names_of_streams(stream: str) -> None:
    """A stream's name is 1 to 64 of a-z 0-9 _ and -."""
    assert STREAM.fullmatch(stream)


@pytest.mark.parametrize("stream", ["", "A", "a b", "a/b", "..", "é", "x" * 65, "a\n"])
def test_what_is_no_name_of_a_stream(stream: str) -> None:
    """Nothing that could climb out of its prefix in the bucket is a stream."""
    assert not STREAM.fullmatch(stream)
