"""The hour of an event: any offset, seconds and milliseconds, garbage."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workers.segments.event_time import hour_of

NOW = datetime(2026, 11, 26, 10, 30, tzinfo=UTC).timestamp()
ARRIVAL = ("2026-11-26", "10")


def hour(value: str) -> tuple[str, str]:
    """Return the hour of one JSON value that arrives at `NOW`."""
    return hour_of(value.encode(), now=NOW)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"2026-11-25T23:59:59Z"', ("2026-11-25", "23")),
        ('"2026-11-25t23:59:59.999999999z"', ("2026-11-25", "23")),
        ('"2026-11-25 23:59:59+00:00"', ("2026-11-25", "23")),
        ('"2026-11-25T23:59:59-00:00"', ("2026-11-25", "23")),
        ('"2026-11-26T01:30:00+05:30"', ("2026-11-25", "20")),
        ('"2026-11-25T23:30:00-02:00"', ("2026-11-26", "01")),
        ('"2024-02-29T00:00:00Z"', ("2024-02-29", "00")),
        ('"2016-12-31T23:59:60Z"', ("2016-12-31", "23")),
        ('"2017-01-01T08:59:60+09:00"', ("2016-12-31", "23")),
        ('"0001-01-01T00:00:00Z"', ("0001-01-01", "00")),
        ('"1969-12-31T23:00:00Z"', ("1969-12-31", "23")),
        ('"2026-11-26T0\\u0030:00:00Z"', ("2026-11-26", "00")),
        ("0", ("1970-01-01", "00")),
        ("-1", ("1969-12-31", "23")),
        ("-0", ("1970-01-01", "00")),
        ("-3600000.5", ("1969-11-20", "07")),
        ("1795600800", ("2026-11-25", "10")),
        ("1795600800.999", ("2026-11-25", "10")),
        ("1.7956008e9", ("2026-11-25", "10")),
        ("1795600800000", ("2026-11-25", "10")),
        ("-1795600800000", ("1913-02-06", "14")),
        ('"1795600800"', ("2026-11-25", "10")),
        ('"1795600800.000100"', ("2026-11-25", "10")),
        ('"1795600800000"', ("2026-11-25", "10")),
        ('"-1"', ("1969-12-31", "23")),
    ],
)
def test_times_are_read(value: str, expected: tuple[str, str]) -> None:
    """In UTC, whichever way they are written; however late they are."""
    assert hour(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "null", "true", "{}", "[1795600800]", '""', '"now"', '"2026-11-25"',
        '"2026-11-25T10:00:00"',
        '"2026-11-25T10:00Z"', '"20261125T100000Z"', '"2026-W48-1T10:00:00Z"',
        '"2026-02-29T00:00:00Z"',
        '"2026-13-01T00:00:00Z"', '"2026-11-25T24:00:00Z"', '"2026-11-25T10:60:00Z"',
        '"2026-11-25T10:00:61Z"', '"2026-11-25T10:00:00+24:00"', '"2026-11-25T10:00:00+1:00"',
        '"2026-11-25T10:00:00.Z"', '"0000-01-01T00:00:00Z"', '"0001-01-01T00:00:00+00:01"',
        '"٢٠٢٦-11-25T10:00:00Z"', '"2026-11-25T10:00:00Z "', '"1e9"', '"0x10"', '"+1795600800"',
        "1e999", "-1e999", "1" + "0" * 5000, "-99999999999999999", "1795600800000000",
    ],
)  # fmt: skip
def test_what_is_no_time_is_the_hour_of_arrival(value: str) -> None:
    """Garbage, other formats, and what is beyond the years 1 to 9999."""
    assert hour(value) == ARRIVAL


@pytest.mark.parametrize("offset", ["Z", "+14:00", "-12:00"])
def test_more_than_a_day_ahead_is_the_hour_of_arrival(offset: str) -> None:
    """To the second: a clock that is wrong by less is believed."""
    zone = datetime.fromisoformat(f"2026-01-01T00:00:00{offset}").tzinfo
    latest = datetime.fromtimestamp(NOW, zone) + timedelta(days=1)
    text = latest.isoformat().replace("+00:00", "Z")
    assert hour(f'"{text}"') == ("2026-11-27", "10")
    later = (latest + timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
    assert hour(f'"{later}"') == ARRIVAL
    assert hour(str(int(NOW) + 86_400)) == ("2026-11-27", "10")
    assert hour(str(int(NOW) + 86_401)) == ARRIVAL


@settings(deadline=None)
@given(
    st.datetimes(datetime(1973, 3, 4), datetime(2026, 11, 26)),  # noqa: DTZ001 (the zone follows)
    st.integers(-1439, 1439),
)
@example(datetime(2026, 3, 29, 2, 30), 60)  # noqa: DTZ001
def test_every_way_of_writing_gives_the_same_hour(moment: datetime, minutes: int) -> None:
    """Property: offsets, seconds and milliseconds are one time."""
    utc = moment.replace(tzinfo=UTC)
    local = utc.astimezone(timezone(timedelta(minutes=minutes)))
    seconds = utc.timestamp()
    spellings = [
        utc.isoformat(),
        local.isoformat(),
        seconds,
        int(seconds * 1000),
        str(int(seconds)),
    ]
    values = [msgspec.json.encode(each) for each in spellings]
    values.append(msgspec.json.encode(utc.isoformat().replace("+00:00", "Z")))
    assert {hour_of(value, now=NOW) for value in values} == {
        (utc.date().isoformat(), f"{utc.hour:02}")
    }


@settings(deadline=None)
@given(st.text(max_size=40) | st.integers() | st.floats())
def test_nothing_raises(value: str | float) -> None:
    """Property: any string and any number has an hour."""
    date, hour_ = hour(msgspec.json.encode(value).decode())
    assert len(date) == 10
    assert 0 <= int(hour_) < 24
