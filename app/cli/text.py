"""Numbers, sizes and times as commands print them."""

import time

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def plural(number: int, one: str, many: str = "") -> str:
    """Return a number and what it counts; `many` is `one` with an s, if nothing else is given."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def goes_up(payloads: int, name: str) -> str:
    """Say when the payloads of something that is replayed are uploaded."""
    what = plural(payloads, f"payload of {name} goes", f"payloads of {name} go")
    return f"{what} up within a minute of a service running"


def rate(value: float) -> str:
    """Return a rate, with a decimal where it is small, but no 0.0."""
    return f"{value:,.1f}" if 0.05 <= value < 10 else f"{value:,.0f}"


def size(value: float) -> str:
    """Return bytes with a unit."""
    power = 0
    while value >= 1024 and power < len(_UNITS) - 1:
        value, power = value / 1024, power + 1
    unit = _UNITS[power]
    return f"{value:,.0f} {unit}" if value >= 100 or value == int(value) else f"{value:.1f} {unit}"


def lasting(seconds: float) -> str:
    """Return how long something lasts, in its two largest units."""
    left = max(0, int(seconds))
    for unit, length, smaller, part in (
        ("d", 86_400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if left >= length:
            return f"{left // length} {unit} {left % length // part} {smaller}"
    return f"{left} s"


def clock(at: float) -> str:
    """Return a time of day, in this machine's zone."""
    return time.strftime("%H:%M:%S", time.localtime(at))
