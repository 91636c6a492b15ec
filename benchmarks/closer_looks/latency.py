"""Latency over offered load: an open loop at fractions of saturation, a closed loop beside it."""

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.harness.contenders import OURS, Contender, contender
from benchmarks.harness.environment import Bench, open_bench
from benchmarks.load.closed_loop import CONNECTIONS, Demand
from benchmarks.load.open_loop import OpenLoop, Pace, Seen, at_quantile
from benchmarks.output import svg
from benchmarks.output.text import grid, head, save, show, title

FRACTIONS = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5)
CLOSED_CONNECTIONS = (1, 4, 16, CONNECTIONS, 256)
WARM_SECONDS = 0.5
# What a sync may add to the p99 at half load.
MAX_OVER_MEMORY = 2.0
MILLI = 1e3
NOTE = (
    "offered, achieved: requests/s; latencies from the scheduled moment, of all answers, and of"
    " requests without one as long as they had waited; late: p99 of how late the generator itself"
    " was"
)
OPEN_HEADS = (
    "of saturation", "offered/s", "achieved/s", "p50 ms", "p99 ms", "p99.9 ms", "503", "broken",
    "no answer", "late ms", "generator's CPU",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A run at one load. Rates are requests a second; latencies milliseconds."""

    contender: str
    # `open`, or `closed` with its connections.
    loop: str
    offered: float | None
    achieved: float
    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None = None
    refused: int = 0
    broken: int = 0
    unanswered: int = 0
    late_ms: float | None = None
    own_cpu: float | None = None


def closed(bench: Bench, found: Contender, *, connections: int, seconds: int) -> Step:
    """Measure the closed loop with so many connections."""
    with bench.running(found) as running:
        demand = Demand(seconds=seconds, connections=connections)
        seen = bench.load.run(running.port, demand)
    return Step(
        contender=found.name,
        loop=f"closed, {connections} connections",
        offered=None,
        achieved=seen.accepted / seen.seconds,
        p50_ms=seen.p50 * MILLI,
        p99_ms=seen.p99 * MILLI,
        refused=seen.refused,
        broken=seen.broken,
    )


def opened(bench: Bench, found: Contender, *, rate: float, seconds: float) -> Step:
    """Measure at an offered rate, after a moment of the same to warm up."""
    with bench.running(found) as running:
        OpenLoop(running.port, Pace(rate=rate, seconds=WARM_SECONDS)).run()
        seen = OpenLoop(running.port, Pace(rate=rate, seconds=seconds)).run()
    return Step(
        contender=found.name,
        loop="open",
        offered=rate,
        achieved=seen.achieved,
        p50_ms=milli(seen, 0.50),
        p99_ms=milli(seen, 0.99),
        p999_ms=milli(seen, 0.999),
        refused=seen.count(503),
        broken=seen.broken,
        unanswered=len(seen.waited),
        late_ms=(at_quantile(seen.late, 0.99) or 0.0) * MILLI,
        own_cpu=seen.own_cpu,
    )


def milli(seen: Seen, quantile: float) -> float | None:
    """Return a quantile of the latencies, in milliseconds."""
    found = seen.latency(quantile)
    return None if found is None else found * MILLI


def steps_of(
    bench: Bench, found: Contender, *, seconds: int, fractions: Sequence[float]
) -> list[Step]:
    """Measure the closed loop, then the open one at fractions of its rate."""
    steps = []
    for connections in CLOSED_CONNECTIONS:
        steps.append(closed(bench, found, connections=connections, seconds=seconds))
        print(progress(steps[-1]), flush=True)
    saturation = max(step.achieved for step in steps)
    for fraction in fractions:
        steps.append(opened(bench, found, rate=fraction * saturation, seconds=seconds))
        print(progress(steps[-1]), flush=True)
    return steps


def progress(step: Step) -> str:
    """Write the result of a step in a line."""
    return (
        f"{step.contender:10} {step.loop:23} offered {show(step.offered):>7}/s,"
        f" achieved {show(step.achieved):>7}/s, p99 {show(step.p99_ms)} ms"
    )


def table(name: str, steps: Sequence[Step]) -> str:
    """Lay out a contender's steps: the closed loop above the open one."""
    mine = [step for step in steps if step.contender == name]
    closed_steps = [step for step in mine if step.offered is None]
    saturation = max(step.achieved for step in closed_steps)
    above = [
        [step.loop, *map(show, (step.achieved, step.p50_ms, step.p99_ms)), f"{step.refused:,}", ""]
        for step in closed_steps
    ]
    below = [_row(step, saturation) for step in mine if step.offered is not None]
    closed_grid = grid(("closed loop", "achieved/s", "p50 ms", "p99 ms", "503", ""), above)
    return f"{title(name)}\n{closed_grid}\n\n{grid(OPEN_HEADS, below)}"


def _row(step: Step, saturation: float) -> Sequence[str]:
    rates = (step.offered, step.achieved, step.p50_ms, step.p99_ms, step.p999_ms)
    counts = (step.refused, step.broken, step.unanswered)
    return [
        f"{(step.offered or 0) / saturation:.0%}",
        *map(show, rates),
        *(f"{count:,}" for count in counts),
        show(step.late_ms),
        f"{step.own_cpu or 0:.0%}",
    ]


def half_load(steps: Sequence[Step]) -> str:
    """Say how much later answers are on a disk than in memory, each at half of its saturation."""
    disk, memory = (_half_load_p99(steps, name) for name in ("disk", "memory"))
    if disk is None or not memory:
        return ""
    ratio = disk / memory
    verdict = "met" if ratio <= MAX_OVER_MEMORY else "NOT MET"
    return (
        f"p99 at half load: disk {show(disk)} ms, memory {show(memory)} ms, the medians:"
        f" {ratio:.2f} times as long; target <= {MAX_OVER_MEMORY:g}: {verdict}"
    )


def _half_load_p99(steps: Sequence[Step], name: str) -> float | None:
    mine = [step for step in steps if step.contender == name]
    saturation = max((step.achieved for step in mine if step.offered is None), default=0.0)
    found = [
        step.p99_ms
        for step in mine
        if step.offered is not None
        and step.p99_ms is not None
        and math.isclose(step.offered, saturation / 2)
    ]
    return statistics.median(found) if found else None


def plot(steps: Sequence[Step]) -> str:
    """Draw latency over offered load; for a closed loop over what it achieved."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for step in steps:
        x, loop = step.offered or step.achieved, step.loop.partition(",")[0]
        for quantile, value in (("p50", step.p50_ms), ("p99", step.p99_ms)):
            if value is not None and (loop == "open" or quantile == "p99"):
                lines.setdefault(f"{step.contender} {loop} {quantile}", []).append((x, value))
    return svg.plot(
        lines,
        across="requests/s offered (closed loop: achieved)",
        up="latency in milliseconds",
        log_up=True,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of this command."""
    parser.add_argument("--only", nargs="+", choices=OURS, default=["memory", "disk"])
    parser.add_argument("--seconds", type=int, default=3, help="of load in each step")
    about = "of saturation, offered in turn; one may be named several times"
    parser.add_argument(
        "--fractions", type=float, nargs="+", default=FRACTIONS, metavar="F", help=about
    )


def run(options: argparse.Namespace) -> None:
    """Measure, print and save: under two minutes for a contender."""
    with open_bench(options.out) as bench:
        about = {**bench.about(), "open loop": NOTE}
        print(head(about), flush=True)
        steps = [
            step
            for name in options.only
            for step in steps_of(
                bench, contender(name), seconds=options.seconds, fractions=options.fractions
            )
        ]
    tables = [*(table(name, steps) for name in options.only), half_load(steps)]
    text = "\n\n".join(filter(None, tables))
    print(f"\n{text}\n")
    data = {"about": about, "steps": [asdict(step) for step in steps]}
    texts = {"latency.txt": f"{head(about)}\n\n{text}\n", "latency.svg": plot(steps)}
    save(options.out, {**texts, "latency.json": json.dumps(data, indent=1) + "\n"})
