"""What pairs of runs come to: median ratios, their spread, and whether new costs more than old."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.comparison.measurement import Cell
from benchmarks.output.spread import Spread, spread
from benchmarks.output.text import grid, title

OLD, NEW, AGAIN = "old", "new", "old again"
# New may cost this much more, or as much as old differs from itself.
ALLOWANCE = 0.03
NOTE = (
    "new/old, old/old: CPU per payload, the median of the pairs (lowest-highest).\n"
    f"allowed: {1 + ALLOWANCE:.2f}, or what three quarters of old/old stay within, whichever is"
    " larger."
)


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured: a contender, and the bodies that it gets."""

    contender: str
    payloads: int
    form: str

    def __str__(self) -> str:
        return f"{self.contender}, x{self.payloads}, {self.form}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Three runs close together: the old revision, the new one, and the old one again."""

    row: Row
    old: Cell
    new: Cell
    again: Cell

    @property
    def change(self) -> float | None:
        """CPU per payload, new over old."""
        return _over(self.new, self.old)

    @property
    def noise(self) -> float | None:
        """CPU per payload, old over old."""
        return _over(self.again, self.old)


def table(pairs: Sequence[Pair]) -> str:
    """Lay out a line for each row of pairs."""
    heads = (
        "row", "pairs", "old us/payload", "new us/payload", "new/old", "old/old", "allowed",
        "requests/s, new/old", "",
    )  # fmt: skip
    heading = title("CPU per payload: new over old")
    return f"{heading}\n{grid(heads, [_line(of_row) for of_row in _by_row(pairs)])}\n\n{NOTE}"


def allowed(noise: Sequence[float]) -> float:
    """Return the highest median of new/old that is no more than the allowance or the noise."""
    off = sorted(abs(ratio - 1) for ratio in noise)
    if len(off) < 2:
        return 1 + ALLOWANCE
    return 1 + max(ALLOWANCE, statistics.quantiles(off, n=4, method="inclusive")[2])


def _over(one: Cell, other: Cell) -> float | None:
    if one.cpu_us_per_payload is None or not other.cpu_us_per_payload:
        return None
    return one.cpu_us_per_payload / other.cpu_us_per_payload


def _by_row(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    for row in dict.fromkeys(pair.row for pair in pairs):
        yield [pair for pair in pairs if pair.row == row]


def _line(pairs: Sequence[Pair]) -> Sequence[str]:
    change = spread(pair.change for pair in pairs)
    noise = [ratio for pair in pairs if (ratio := pair.noise) is not None]
    limit = allowed(noise)
    requests = spread(
        (pair.new.requests_per_second or 0) / pair.old.requests_per_second
        for pair in pairs
        if pair.old.requests_per_second
    )
    verdict = ""
    if change is not None:
        verdict = "met" if change.median <= limit else "NOT MET"
    return [
        str(pairs[0].row),
        str(len(pairs)),
        str(spread(pair.old.cpu_us_per_payload for pair in pairs) or "-"),
        str(spread(pair.new.cpu_us_per_payload for pair in pairs) or "-"),
        _ratios(change),
        _ratios(spread(noise)),
        f"{limit:.3f}",
        _ratios(requests),
        verdict,
    ]


def _ratios(found: Spread | None) -> str:
    """Write ratios near 1 with the digits that differ."""
    return f"{found.median:.3f} ({found.low:.3f}-{found.high:.3f})" if found else "-"
