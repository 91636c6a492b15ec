"""The targets of the service, as data, and whether a run met them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.comparison.measurement import Cell
from benchmarks.comparison.report import FLUENT_BIT, GO, median_of, rows_of
from benchmarks.output.text import grid, show, title

CPU, STORED = "cpu_us_per_payload", "stored_per_second"
ACCEPTING = "accepting_us_per_payload"
FIELDS = {
    CPU: "CPU per payload",
    ACCEPTING: "CPU per payload",
    STORED: "payloads/s stored",
}


@dataclass(frozen=True, slots=True)
class Target:
    """A contender's figure, over another's unless that is empty, by payloads per request."""

    contender: str
    to: str
    field: str
    bounds: Mapping[int, float]
    at_least: bool = False
    about: str = ""


TARGETS = (
    Target("memory", FLUENT_BIT, CPU, {1: 0.70, 10: 0.28, 100: 0.11}),
    Target("disk", FLUENT_BIT, CPU, {1: 0.92, 10: 0.36, 100: 0.14}),
    Target("queue", "disk", CPU, {10: 1.6, 100: 1.6}, about="everything with Redis"),
    Target("queue-roles", "disk", ACCEPTING, {10: 1.6, 100: 1.6}, about="ROLE=web with Redis"),
    Target("disk", GO, CPU, {1: 0.5, 10: 0.06, 100: 0.015}),
    # With a payload a request, payloads stored are requests accepted, durable and stored.
    Target("disk", "", STORED, {1: 1e6 / 60}, at_least=True, about="a million requests a minute"),
    Target("memory", "", STORED, {100: 1e6}, at_least=True, about="a million payloads a second"),
)


def table(cells: Sequence[Cell]) -> str:
    """Lay out every target, what was measured, and whether it was met."""
    rows = [
        _row(target, size, bound, cells)
        for target in TARGETS
        for size, bound in target.bounds.items()
    ]
    heads = ("payloads per request", "target", "measured", "")
    heading = title("Targets, by the medians of this run")
    return f"{heading}\n{grid(('what', *heads), rows)}"


def measured(target: Target, size: int, cells: Sequence[Cell]) -> float | None:
    """Return what a run has for a target; None if it did not measure that."""
    rows = rows_of(cells, size)
    found = median_of(rows.get(target.contender, ()), target.field)
    if not target.to:
        return found.median if found else None
    base = median_of(rows.get(target.to, ()), target.field)
    return found.median / base.median if found and base and base.median else None


def _row(target: Target, size: int, bound: float, cells: Sequence[Cell]) -> Sequence[str]:
    sign = ">=" if target.at_least else "<="
    value = measured(target, size, cells)
    # A row that was computed and not run has a name of its own.
    to = next((cell.contender for cell in rows_of(cells, size).get(target.to, ())), target.to)
    what = f"{target.contender} / {to}" if to else target.contender
    name = f"{what}, {FIELDS[target.field]}" + (f": {target.about}" if target.about else "")
    if value is None:
        verdict = "not measured"
    else:
        met = value >= bound if target.at_least else value <= bound
        verdict = "met" if met else "NOT MET"
    return name, str(size), f"{sign} {show(bound)}", show(value), verdict
