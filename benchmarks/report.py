"""What the runs say: medians of rounds, ratios, a table, files and a plot. Measures nothing."""

import csv
import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# S3 Standard, us-east-1, PUT requests: https://aws.amazon.com/s3/pricing/
DOLLARS_PER_PUT = 0.005 / 1000
MIB = 1 << 20
MICRO = 1e6
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM, LABEL = 760, 440, 70, 150, 40, 50, 16
COLOURS = ("#0b6", "#06c", "#c33", "#e80", "#939", "#555", "#a63", "#399")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run of one contender. `None` where nothing was stored to divide by."""

    contender: str
    payloads_per_request: int
    round: int
    requests_per_second: float
    accepted_per_second: float
    stored_per_second: float
    cpu_us_per_payload: float | None
    p50_ms: float | None
    p99_ms: float | None
    peak_rss_mib: float
    puts_per_million: float | None
    # Requests answered otherwise than 202, and those without an answer.
    refused: int
    broken: int
    # Accepted and not stored when the wait ended; below 0: stored, of requests yet unanswered.
    unstored: int


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over several rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.low == self.high:
            return show(self.median)
        return f"{show(self.median)} ({show(self.low)}-{show(self.high)})"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: its head, and a row's text by the row's cells and the first row's."""

    head: str
    text: Callable[[Sequence[Cell], Sequence[Cell]], str]


def spread(cells: Sequence[Cell], name: str) -> Spread | None:
    """Return the median and the extremes of a field; None if no round has it."""
    values = [value for cell in cells if (value := getattr(cell, name)) is not None]
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def show(value: float) -> str:
    """Write a number with three digits that mean something."""
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}" if value < 1 else f"{value:.2f}"


def figure(name: str, *, whole: bool = True) -> Callable[[Sequence[Cell], Sequence[Cell]], str]:
    """Make a column of a field: median and extremes, or the median alone."""

    def text(cells: Sequence[Cell], _: Sequence[Cell]) -> str:
        found = spread(cells, name)
        if found is None:
            return "-"
        return str(found) if whole else show(found.median)

    return text


def ratio(name: str) -> Callable[[Sequence[Cell], Sequence[Cell]], str]:
    """Make a column of a field's median over the first contender's."""

    def text(cells: Sequence[Cell], first: Sequence[Cell]) -> str:
        found, base = spread(cells, name), spread(first, name)
        return f"{show(found.median / base.median)}x" if found and base and base.median else "-"

    return text


def _dollars(cells: Sequence[Cell], _: Sequence[Cell]) -> str:
    puts = spread(cells, "puts_per_million")
    return f"{puts.median * DOLLARS_PER_PUT:.4f}" if puts else "-"


def _remarks(cells: Sequence[Cell], _: Sequence[Cell]) -> str:
    """Say what did not go well, in all rounds together."""
    sums = {name: sum(getattr(c, name) for c in cells) for name in ("refused", "broken")}
    said = [f"{total:,} {name}" for name, total in sums.items() if total]
    unstored = [cell.unstored for cell in cells]
    if max(unstored) > 0:
        said.append(f"up to {max(unstored):,} accepted, NOT STORED in time")
    if min(unstored) < 0:
        said.append(f"up to {-min(unstored):,} stored of requests not answered in time")
    return ", ".join(said)


COLUMNS = (
    Column("contender", lambda cells, _: cells[0].contender),
    Column("requests/s", figure("requests_per_second")),
    Column("accepted/s", figure("accepted_per_second", whole=False)),
    Column("STORED/s", figure("stored_per_second")),
    Column("ratio", ratio("stored_per_second")),
    Column("CPU us/payload", figure("cpu_us_per_payload")),
    Column("ratio", ratio("cpu_us_per_payload")),
    Column("p50 ms", figure("p50_ms", whole=False)),
    Column("p99 ms", figure("p99_ms")),
    Column("RSS MiB", figure("peak_rss_mib", whole=False)),
    Column("PUTs/M", figure("puts_per_million", whole=False)),
    Column("$/M", _dollars),
    Column("remarks", _remarks),
)


def table(cells: Sequence[Cell]) -> str:
    """Lay the medians out, a block for each number of payloads per request."""
    blocks = []
    for size in sorted({cell.payloads_per_request for cell in cells}):
        rows = list(rows_of(cells, size).values())
        texts = [[column.head for column in COLUMNS]]
        texts += [[column.text(row, rows[0]) for column in COLUMNS] for row in rows]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        lines = [
            "  ".join(
                text.rjust(width) if 0 < at < len(COLUMNS) - 1 else text.ljust(width)
                for at, (text, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in texts
        ]
        title = f"{size} payload{'s' if size > 1 else ''} per request"
        blocks.append("\n".join([title, "=" * len(title), *lines]))
    return "\n\n".join(blocks)


def rows_of(cells: Sequence[Cell], size: int) -> Mapping[str, list[Cell]]:
    """Gather the rounds of each contender, in the order they ran."""
    rows: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.payloads_per_request == size:
            rows.setdefault(cell.contender, []).append(cell)
    return rows


def save(directory: Path, cells: Sequence[Cell], *, about: Mapping[str, object]) -> list[Path]:
    """Write every run as CSV and JSON, the table as text and the plot as SVG; return their paths.

    The directory ignores itself in git: a result is of the machine that it was made on.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ".gitignore").write_text("*\n")
    rows = [dataclasses.asdict(cell) for cell in cells]
    head = "\n".join(f"{name}: {value}" for name, value in about.items())
    texts = {
        "results.json": json.dumps({"about": about, "runs": rows}, indent=1) + "\n",
        "results.txt": f"{head}\n\n{table(cells)}\n",
        "cpu.svg": plot(cells),
    }
    for name, text in texts.items():
        (directory / name).write_text(text)
    with (directory / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Cell)])
        writer.writeheader()
        writer.writerows(rows)
    return [directory / name for name in (*texts, "results.csv")]


def plot(cells: Sequence[Cell]) -> str:
    """Draw CPU per payload stored against payloads per request, both logarithmic, as SVG."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for size in sorted({cell.payloads_per_request for cell in cells}):
        for name, row in rows_of(cells, size).items():
            found = spread(row, "cpu_us_per_payload")
            if found and found.median > 0:
                point = math.log10(size), math.log10(found.median)
                lines.setdefault(name, []).append(point)
    points = [point for line in lines.values() for point in line] or [(0.0, 0.0)]
    right = max(1.0, *(x for x, _ in points))
    low = math.floor(min(y for _, y in points))
    high = max(low + 1, math.ceil(max(y for _, y in points)))

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / right * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    marks = [_text(LEFT, TOP / 2, "CPU, microseconds per payload stored")]
    marks += [_text(LEFT, HEIGHT - 12, "payloads per request")]
    for power in range(low, high + 1):
        x, y = place(0, power)
        marks.append(f'<path d="M{x:.1f} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        marks.append(_text(x - 8, y + 4, f"{10.0**power:g}", anchor="end"))
    for power in range(math.ceil(right) + 1):
        if power <= right:
            marks.append(_text(place(power, low)[0], HEIGHT - BOTTOM + 18, f"{10**power}"))
    placed = {name: [place(*point) for point in line] for name, line in lines.items()}
    labels = apart({name: line[-1][1] for name, line in placed.items()})
    for at, (name, line) in enumerate(placed.items()):
        marks += _line(line, name, label=labels[name], colour=COLOURS[at % len(COLOURS)])
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


def _line(
    points: Sequence[tuple[float, float]], name: str, *, label: float, colour: str
) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in points]
    line = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    return [line, *dots, _text(points[-1][0] + 10, label + 4, name, colour=colour)]


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#222") -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {where}>{text}</text>"
