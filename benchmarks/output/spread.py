"""The median of a figure over several rounds, and its extremes."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.output.text import show


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over several rounds; written as `median (low-high)`."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.low == self.high:
            return show(self.median)
        return f"{show(self.median)} ({show(self.low)}-{show(self.high)})"


def spread(values: Iterable[float | None]) -> Spread | None:
    """Return the median and the extremes of what was measured; None if nothing was."""
    found = [value for value in values if value is not None]
    return Spread(statistics.median(found), min(found), max(found)) if found else None
