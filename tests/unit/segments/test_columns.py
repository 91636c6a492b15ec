"""Values of many payloads at once: the same as each by itself."""

import json
from datetime import UTC, datetime, timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from workers.segments.event_time import hour_of, hours_of
from workers.segments.values import MAX_CACHED_BYTES, text_of, texts_of

NOW = datetime(2026, 11, 26, 12, 34, 56, tzinfo=UTC)
TIMES = st.one_of(
    st.sampled_from(
        ["2026-11-26T12:00:00Z", "2026-13-01T00:00:00Z", "2026-11-27T12:34:57Z", "", "x" * 300]
    ),
    st.integers(-30, 30).map(lambda hours: f"{NOW + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"),
    st.integers(0, 2_000_000_000),
)


@settings(deadline=None)
@given(st.lists(TIMES, min_size=1, max_size=5))
@example(["2026-11-26T12:00:00Z", "2026-11-26T12:59:59.999Z"])
@example(["2026-11-27T11:59:59Z", "2026-11-27T12:59:59Z"])
@example(["2026-02-30T11:59:59Z", "2026-11-26T12:00:00Z"])
def test_hours_are_those_of_each(times: list[str | int]) -> None:
    """Property: beside any others an event has its own hour, or that of its arrival."""
    values = [json.dumps(each).encode() for each in times]
    now = NOW.timestamp()
    assert hours_of(values, now=now) == [hour_of(value, now=now) for value in values]


@settings(deadline=None)
@given(st.lists(st.text() | st.integers() | st.none(), min_size=1, max_size=5))
@example(["x" * MAX_CACHED_BYTES, "x"])
def test_texts_are_those_of_each(sent: list[str | int | None]) -> None:
    """Property: a long value beside a short one changes neither."""
    values = [json.dumps(each, ensure_ascii=True).encode() for each in sent]
    assert texts_of(values) == [text_of(value) for value in values]
