"""The forms that bodies come in, what they may cost over the plain form, and the table of that.

To many streams in turn is one of the forms.

`plain` bodies have a Content-Length and no Content-Encoding; small ones are what the main table
sends.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.comparison.measurement import Cell
from benchmarks.load.bodies import Body, Coding
from benchmarks.load.closed_loop import CONNECTIONS, Demand
from benchmarks.output.spread import Spread, spread
from benchmarks.output.text import grid, show, title

PLAIN = "plain"
# At 430 bytes each, bodies of about 1 and 10 MB.
MB, TEN_MB = 2_300, 23_000
# Fewer connections for large bodies: what is under way fits into the bounds of the service.
LARGE_CONNECTIONS = {MB: 16, TEN_MB: 4}
SMALL_SIZES = (10, 100)
# The most CPU that a request may take over the same body plain, by payloads per request.
AIMS = {10: 1.35, 100: 1.25}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A way to send a body."""

    name: str
    coding: Coding = ""
    chunked: bool = False
    streams: int = 1
    # By contender: the sizes, in payloads per request, that it is sent in.
    sizes: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def demand(self, payloads: int, *, seconds: int, bare: bool) -> Demand:
        """Return what is sent in this form."""
        body = Body(payloads=payloads, bare=bare, coding=self.coding, chunked=self.chunked)
        connections = LARGE_CONNECTIONS.get(payloads, CONNECTIONS)
        return Demand(seconds=seconds, body=body, connections=connections, streams=self.streams)


LARGE = (MB, TEN_MB)
FORMS = (
    # The plain ones of small sizes are rows of the main table.
    Form(name=PLAIN, sizes={"disk": LARGE, "fluent-bit": (MB,)}),
    Form(
        name="gzip",
        coding="gzip",
        sizes={"disk": (*SMALL_SIZES, *LARGE), "fluent-bit": (*SMALL_SIZES, MB)},
    ),
    Form(name="zstd", coding="zstd", sizes={"disk": (*SMALL_SIZES, *LARGE)}),
    Form(name="chunked", chunked=True, sizes={"disk": (*SMALL_SIZES, *LARGE)}),
    Form(name="64-streams", streams=64, sizes={"disk": (1,)}),
)


def table(cells: Sequence[Cell]) -> str:
    """Lay out what each form cost over the plain one, a row for each contender and size."""
    rows = [_row(chosen, cells) for chosen in _groups(cells)]
    if not rows:
        return ""
    heads = (
        "contender", "payloads per request", "form", "CPU us/request", "/plain", "aim",
        "/fluent-bit", "requests/s", "p99 ms", "503", "",
    )  # fmt: skip
    return f"{title('Forms of a body')}\n{grid(heads, rows)}"


def of(cells: Sequence[Cell], contender: str, size: int, form: str) -> list[Cell]:
    """Return the rounds of a contender with bodies of this size and form."""
    return [
        cell
        for cell in cells
        if (cell.contender, cell.payloads_per_request, cell.form) == (contender, size, form)
    ]


def cpu(cells: Sequence[Cell]) -> Spread | None:
    """Return microseconds of CPU per request."""
    per_payload = spread(cell.cpu_us_per_payload for cell in cells)
    if per_payload is None:
        return None
    size = cells[0].payloads_per_request
    return Spread(per_payload.median * size, per_payload.low * size, per_payload.high * size)


def over(cells: Sequence[Cell], base: Sequence[Cell]) -> float | None:
    """Return the CPU per request over that of other runs, by the medians."""
    found, under = cpu(cells), cpu(base)
    return found.median / under.median if found and under and under.median else None


def _groups(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Yield the rounds of each row: every form at a size where one that is not plain was run."""
    sizes = sorted({cell.payloads_per_request for cell in cells if cell.form != PLAIN})
    contenders = dict.fromkeys(cell.contender for cell in cells if cell.form != PLAIN)
    for size in sizes:
        for contender in contenders:
            for form in FORMS:
                if found := of(cells, contender, size, form.name):
                    yield found


def _row(found: Sequence[Cell], cells: Sequence[Cell]) -> Sequence[str]:
    contender, size, form = found[0].contender, found[0].payloads_per_request, found[0].form
    aim = AIMS.get(size) if form != PLAIN and contender == "disk" else None
    ratio = over(found, of(cells, contender, size, PLAIN))
    verdict = ""
    if aim is not None and ratio is not None:
        verdict = "met" if ratio <= aim else "NOT MET"
    return [
        contender,
        str(size),
        form,
        str(cpu(found) or "-"),
        show(ratio),
        f"<= {aim:g}" if aim else "",
        show(over(found, of(cells, "fluent-bit", size, form))),
        str(spread(cell.requests_per_second for cell in found) or "-"),
        str(spread(cell.p99_ms for cell in found) or "-"),
        f"{sum(cell.refused + cell.broken for cell in found):,}",
        verdict,
    ]
