"""Draws lines over axes as SVG, without a library. Knows numbers and nothing of what they mean."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM, LABEL = 760, 440, 70, 170, 40, 50, 16
COLOURS = (
    "#0b6", "#06c", "#c33", "#e80", "#939", "#555", "#a63", "#399", "#7a0", "#c6a", "#007", "#b90",
)  # fmt: skip
STEPS = (1, 2, 5, 10)
MOST_TICKS = 8

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale from `low` to `high`, linear or logarithmic, and where its ticks are."""

    low: float
    high: float
    log: bool
    ticks: Sequence[float]

    def part(self, value: float) -> float:
        """Return where a value is, from 0 at the low end to 1 at the high one."""
        if self.log:
            value, low, high = (math.log10(at) for at in (value, self.low, self.high))
            return (value - low) / (high - low)
        return (value - self.low) / (self.high - self.low)


def axis(values: Sequence[float], *, log: bool) -> Axis:
    """Make a scale that all values are on: whole powers of ten, or from 0 in round steps."""
    if log:
        low = math.floor(math.log10(min(values)))
        high = max(low + 1, math.ceil(math.log10(max(values))))
        ticks = [10.0**power for power in range(low, high + 1)]
    else:
        most = max(values) or 1.0
        unit = 10.0 ** math.floor(math.log10(most / MOST_TICKS))
        step = next(unit * size for size in STEPS if unit * size * MOST_TICKS >= most)
        ticks = [step * number for number in range(math.ceil(most / step) + 1)]
    return Axis(ticks[0], ticks[-1], log, ticks)


def plot(
    lines: Mapping[str, Points],
    *,
    across: str,
    up: str,
    log_across: bool = False,
    log_up: bool = False,
    dots: bool = True,
) -> str:
    """Draw named lines; `across` and `up` say what the axes are. A log axis skips values of 0."""
    kept = {
        name: [(x, y) for x, y in line if (x > 0 or not log_across) and (y > 0 or not log_up)]
        for name, line in lines.items()
    }
    kept = {name: line for name, line in kept.items() if line}
    points = [point for line in kept.values() for point in line] or [(1.0, 1.0)]
    xs = axis([x for x, _ in points], log=log_across)
    ys = axis([y for _, y in points], log=log_up)
    marks = [_text(LEFT, TOP / 2, up), _text(LEFT, HEIGHT - 12, across), *_grid(xs, ys)]
    placed = {name: [_place(xs, ys, *point) for point in line] for name, line in kept.items()}
    labels = apart({name: line[-1][1] for name, line in placed.items()})
    for at, (name, line) in enumerate(placed.items()):
        colour = COLOURS[at % len(COLOURS)]
        marks += _dots(line, colour) if dots else []
        marks += _line(line, name, label=labels[name], colour=colour)
    size_of = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    style = 'font-family="sans-serif" font-size="13"'
    inside = '<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(marks)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size_of} {style}>\n{inside}\n</svg>\n'


def apart(heights: Mapping[str, float]) -> Mapping[str, float]:
    """Move labels down until none covers another."""
    found: dict[str, float] = {}
    last = -math.inf
    for name, height in sorted(heights.items(), key=lambda item: item[1]):
        found[name] = last = max(height, last + LABEL)
    return found


def _place(xs: Axis, ys: Axis, x: float, y: float) -> tuple[float, float]:
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    return LEFT + xs.part(x) * width, HEIGHT - BOTTOM - ys.part(y) * height


def _grid(xs: Axis, ys: Axis) -> list[str]:
    """Draw the ticks of both axes, and a line across for each of the upright one."""
    marks = []
    for tick in ys.ticks:
        y = _place(xs, ys, xs.low, tick)[1]
        marks.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        marks.append(_text(LEFT - 8, y + 4, f"{tick:,.10g}", anchor="end"))
    for tick in xs.ticks:
        x = _place(xs, ys, tick, ys.low)[0]
        marks.append(_text(x, HEIGHT - BOTTOM + 18, f"{tick:,.10g}", anchor="middle"))
    return marks


def _dots(points: Points, colour: str) -> list[str]:
    return [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]


def _line(points: Points, name: str, *, label: float, colour: str) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    line = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    return [line, _text(WIDTH - RIGHT + 10, label + 4, name, colour=colour)]


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#222") -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {where}>{text}</text>"
