"""The date and hour of an event, from the member that `EVENT_TIME` points to.

RFC 3339 with any offset, or seconds or milliseconds since 1970, as a number or a string of digits.
Pure functions.
"""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec

from workers.segments.values import Cache

# A date and an hour (UTC), as text.
Hour: TypeAlias = tuple[str, str]

# What is further ahead is a wrong clock, or no time at all.
MAX_AHEAD_SECONDS: Final = 86_400.0
# As seconds this is in the year 5138, as milliseconds in 1973.
LEAST_MILLISECONDS: Final = 1e11
# A number of a time has fewer bytes, and a longer one takes long to be read.
MAX_NUMBER_BYTES: Final = 40
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Section 5.6, its notes included; a second may be a leap second.
_RFC_3339: Final = re.compile(
    rb'"(\d{4}-\d\d-\d\d[Tt ](?:[01]\d|2[0-3]):[0-5]\d:)([0-5]\d|60)(?:\.\d+)?'
    rb'([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)"'
)
# A time in UTC begins with its date and hour, which are looked up.
_START, _START_END = slice(1, 14), 14
_REST: Final = rb':[0-5]\d:[0-5]\d(?:\.\d+)?Z"'
_is_rest: Final = re.compile(_REST).fullmatch
_ALL_UTC: Final = re.compile(rb'(?:"\d{4}-\d\d-\d\dT\d\d%b)+' % _REST)
_string: Final = msgspec.json.Decoder(str).decode
_DIGITS: Final = re.compile(rb'"(-?\d+(?:\.\d+)?)"')


def hours_of(values: Sequence[bytes], *, now: float) -> list[Hour]:
    """Return the hour of each of several events; see `hour_of`."""
    latest = now + MAX_AHEAD_SECONDS
    if _ALL_UTC.fullmatch(b"".join(values)):
        starts = [value[_START] for value in values]
        known = {start: _utc_hours[start] for start in set(starts)}
        hours = {start: each[0] for start, each in known.items() if each and each[1] <= latest}
        if len(hours) == len(known):
            return [hours[start] for start in starts]
    return [hour_of(value, now=now) for value in values]


def hour_of(value: bytes, *, now: float) -> Hour:
    """Return the hour of an event that arrives `now` (seconds since 1970), from a JSON value.

    A value that is no time, or more than 24 hours ahead, is as good as none: then it is the hour of
    arrival.
    """
    # Most are in UTC, and in few hours.
    known = _utc_hours[value[_START]] if _is_rest(value, _START_END) else None
    if known is not None and known[1] <= now + MAX_AHEAD_SECONDS:
        return known[0]
    seconds = _seconds(value)
    is_ahead = seconds is not None and seconds > now + MAX_AHEAD_SECONDS
    hour = None if seconds is None or is_ahead else hour_at(seconds // 3600)
    if hour is None:
        hour = hour_at(now // 3600)
        assert hour is not None
    return hour


def _utc_hour(start: bytes) -> tuple[Hour, float] | None:
    """Return the hour that begins a time such as `2026-01-01T00`, and when it ends."""
    seconds = _seconds(b'"%b:00:00Z"' % start)
    hour = None if seconds is None else hour_at(seconds // 3600)
    return None if seconds is None or hour is None else (hour, seconds + 3600)


_utc_hours: Final = Cache(_utc_hour)


def _seconds(value: bytes) -> float | None:
    """Return the seconds since 1970 that a JSON value stands for; None where it is no time."""
    if b"\\" in value:
        value = b'"%b"' % _string(value).encode()
    found = _RFC_3339.fullmatch(value)
    if found is not None:
        start, second, offset = found.groups()
        # A leap second is in the same hour as the second before it.
        text = start + (b"59" if second == b"60" else second) + offset.upper()
        try:
            return datetime.fromisoformat(text.decode()).timestamp()
        except (ValueError, OverflowError):
            return None
    if len(value) > MAX_NUMBER_BYTES:
        return None
    if value[:1] == b'"':
        digits = _DIGITS.fullmatch(value)
        if digits is None:
            return None
        value = digits[1]
    elif value[:1] not in _NUMBERS:
        return None
    number = float(value)
    if not math.isfinite(number):
        return None
    return number / 1000 if abs(number) >= LEAST_MILLISECONDS else number


_NUMBERS: Final = frozenset(bytes([each]) for each in b"-0123456789")


@lru_cache(4096)
def hour_at(hour: float) -> Hour | None:
    """Return the hour that begins so many hours after 1970; None beyond the years 1 to 9999."""
    try:
        moment = _EPOCH + timedelta(hours=hour)
    except OverflowError:
        return None
    return moment.date().isoformat(), f"{moment.hour:02}"
