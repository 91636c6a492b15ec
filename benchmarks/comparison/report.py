"""The results of the runs: medians of rounds, ratios, a table, files and a plot."""

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.comparison.forms import PLAIN
from benchmarks.comparison.measurement import Cell
from benchmarks.output import svg
from benchmarks.output.spread import Spread, spread
from benchmarks.output.text import grid, head, show, title

# S3 Standard, us-east-1, PUT requests: https://aws.amazon.com/s3/pricing/
DOLLARS_PER_PUT = 0.005 / 1000
GO = "go"
FLUENT_BIT = "fluent-bit"
# Where it cannot be run: by payloads per request, what of the Go original's CPU it took when both
# were measured side by side.
FLUENT_BIT_OF_GO = {1: 0.21, 10: 0.077, 100: 0.062}
FLUENT_BIT_NOTE = "not run here: a fraction of the go row, from an earlier side-by-side run"


# Parts of the CPU that are shown apart, by the cell's field.
PARTS = {"redis_us_per_payload": "Redis'", "uploading_us_per_payload": "the uploading processes'"}

# The rounds of each contender, in the order they ran.
Rows = Mapping[str, Sequence[Cell]]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: its head, and a row's text by the row's cells and all the rows."""

    head: str
    text: Callable[[Sequence[Cell], Rows], str]


def median_of(cells: Sequence[Cell], name: str) -> Spread | None:
    """Return the median and the extremes of a field; None if no round has it."""
    return spread(getattr(cell, name) for cell in cells)


def figure(name: str, *, whole: bool = True) -> Callable[[Sequence[Cell], Rows], str]:
    """Make a column of a field: median and extremes, or the median alone."""

    def text(cells: Sequence[Cell], _: Rows) -> str:
        found = median_of(cells, name)
        if found is None:
            return "-"
        return str(found) if whole else show(found.median)

    return text


def ratio(name: str, *, to: str = "") -> Callable[[Sequence[Cell], Rows], str]:
    """Make a column of a field's median over that of another row, or of the first."""

    def text(cells: Sequence[Cell], rows: Rows) -> str:
        found = median_of(cells, name)
        base = median_of(rows.get(to or next(iter(rows)), ()), name)
        return f"{show(found.median / base.median)}x" if found and base and base.median else "-"

    return text


def _dollars(cells: Sequence[Cell], _: Rows) -> str:
    puts = median_of(cells, "puts_per_million")
    return f"{puts.median * DOLLARS_PER_PUT:.4f}" if puts else "-"


def _remarks(cells: Sequence[Cell], _: Rows) -> str:
    """Write what went wrong, in all rounds together."""
    sums = {name: sum(getattr(c, name) for c in cells) for name in ("refused", "broken")}
    remarks = [f"{total:,} {name}" for name, total in sums.items() if total]
    unstored = [cell.unstored for cell in cells]
    if max(unstored) > 0:
        remarks.append(f"up to {max(unstored):,} accepted, NOT STORED in time")
    if min(unstored) < 0:
        remarks.append(f"up to {-min(unstored):,} stored of requests not answered in time")
    for name, whose in PARTS.items():
        part = median_of(cells, name)
        if part and part.median:
            remarks.append(f"{show(part.median)} us of it {whose}")
    return ", ".join([*remarks, *filter(None, {cell.note for cell in cells})])


COLUMNS = (
    Column("contender", lambda cells, _: cells[0].contender),
    Column("requests/s", figure("requests_per_second")),
    Column("accepted/s", figure("accepted_per_second", whole=False)),
    Column("STORED/s", figure("stored_per_second")),
    Column("/first", ratio("stored_per_second")),
    Column("CPU us/payload", figure("cpu_us_per_payload")),
    Column("/go", ratio("cpu_us_per_payload", to=GO)),
    Column("/fluent-bit", ratio("cpu_us_per_payload", to=FLUENT_BIT)),
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
    for size in sizes(cells):
        rows = rows_of(cells, size)
        texts = [[column.text(row, rows) for column in COLUMNS] for row in rows.values()]
        heading = title(f"{size} payload{'s' if size > 1 else ''} per request")
        blocks.append(f"{heading}\n{grid([column.head for column in COLUMNS], texts)}")
    return "\n\n".join(blocks)


def sizes(cells: Sequence[Cell]) -> list[int]:
    """Return the numbers of payloads per request that were measured."""
    return sorted({cell.payloads_per_request for cell in cells if cell.form == PLAIN})


def rows_of(cells: Sequence[Cell], size: int) -> Rows:
    """Gather the rounds of each contender; Fluent Bit's figure is computed where it was not run."""
    rows: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.payloads_per_request == size and cell.form == PLAIN:
            rows.setdefault(cell.contender, []).append(cell)
    go, fraction = median_of(rows.get(GO, ()), "cpu_us_per_payload"), FLUENT_BIT_OF_GO.get(size)
    if go and fraction and FLUENT_BIT not in rows:
        computed = Cell(
            contender=f"{FLUENT_BIT}*",
            payloads_per_request=size,
            cpu_us_per_payload=go.median * fraction,
            note=FLUENT_BIT_NOTE,
        )
        rows[FLUENT_BIT] = [computed]
    return rows


def files(cells: Sequence[Cell], *, about: Mapping[str, object], text: str) -> Mapping[str, str]:
    """Make every run CSV and JSON, the tables text and the plot SVG; by the name of the file."""
    rows = [dataclasses.asdict(cell) for cell in cells]
    lines = io.StringIO()
    writer = csv.DictWriter(lines, [field.name for field in dataclasses.fields(Cell)])
    writer.writeheader()
    writer.writerows(rows)
    return {
        "results.json": json.dumps({"about": about, "runs": rows}, indent=1) + "\n",
        "results.csv": lines.getvalue(),
        "results.txt": f"{head(about)}\n\n{text}\n",
        "cpu.svg": plot(cells),
    }


def plot(cells: Sequence[Cell]) -> str:
    """Draw CPU per payload stored against payloads per request, both logarithmic, as SVG."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for size in sizes(cells):
        for name, row in rows_of(cells, size).items():
            if found := median_of(row, "cpu_us_per_payload"):
                lines.setdefault(name, []).append((size, found.median))
    return svg.plot(
        lines,
        across="payloads per request",
        up="CPU, microseconds per payload stored",
        log_across=True,
        log_up=True,
    )
