"""One variable at a time: streams, connections, and a backlog in the spool."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.closer_looks import backlog
from benchmarks.harness.contenders import OURS, Contender, contender
from benchmarks.harness.environment import Bench, open_bench
from benchmarks.load.bodies import Body
from benchmarks.load.closed_loop import CONNECTIONS, Demand
from benchmarks.output.text import grid, head, save, show, title

STREAMS = (1, 8, 64)
CONNECTION_COUNTS = (1, 16, CONNECTIONS, 256, 1000)
ALL_STORED_SECONDS = 5.0
MICRO, MILLI = 1e6, 1e3
HEADS = ("contender", "CPU us/payload", "requests/s", "p50 ms", "p99 ms", "503", "broken", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A run at one value of one variable."""

    contender: str
    knob: str
    value: int
    payloads_per_request: int
    requests_per_second: float
    cpu_us_per_payload: float | None
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int


def measure(bench: Bench, found: Contender, demand: Demand, *, knob: str) -> Point:
    """Load a new service, wait until all is stored, and divide its CPU by that."""
    with bench.running(found) as running:
        cpu = running.cpu_seconds()
        seen = bench.load.run(running.port, demand)
        stored = running.wait_stored(timeout=ALL_STORED_SECONDS).stored
        cpu = running.cpu_seconds() - cpu
    return Point(
        contender=found.name,
        knob=knob,
        value=getattr(demand, knob),
        payloads_per_request=demand.body.payloads,
        requests_per_second=seen.accepted / seen.seconds,
        cpu_us_per_payload=cpu / stored * MICRO if stored else None,
        p50_ms=seen.p50 * MILLI,
        p99_ms=seen.p99 * MILLI,
        refused=seen.refused,
        broken=seen.broken,
    )


def demands(knob: str, *, payloads: int, seconds: int) -> list[Demand]:
    """Return what is sent at each value of a variable."""
    body = Body(payloads=payloads)
    if knob == "streams":
        return [Demand(seconds=seconds, body=body, streams=n) for n in STREAMS]
    return [Demand(seconds=seconds, body=body, connections=n) for n in CONNECTION_COUNTS]


def progress(point: Point) -> str:
    """Write the result of a run in a line."""
    return f"{point.contender}, {point.value} {point.knob}: {show(point.cpu_us_per_payload)} us"


def table(knob: str, points: Sequence[Point]) -> str:
    """Lay out a variable's points, those of a contender together."""
    rows = [
        [
            point.contender,
            str(point.value),
            *map(show, (point.cpu_us_per_payload, point.requests_per_second)),
            *map(show, (point.p50_ms, point.p99_ms)),
            f"{point.refused:,}",
            f"{point.broken:,}",
            "",
        ]
        for point in points
        if point.knob == knob
    ]
    return f"{title(knob)}\n{grid((HEADS[0], knob, *HEADS[1:]), rows)}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of this command."""
    knobs = ["streams", "connections", "backlog"]
    parser.add_argument("--only", nargs="+", choices=OURS, default=["memory", "disk"])
    parser.add_argument("--knobs", nargs="+", choices=knobs, default=knobs)
    parser.add_argument("--seconds", type=int, default=2, help="of load in each run")
    parser.add_argument("--payloads", type=int, default=1, help="in each request")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="of the backlog, disk mode")


def run(options: argparse.Namespace) -> None:
    """Measure, print and save: about two minutes."""
    points: list[Point] = []
    behind: list[backlog.Run] = []
    with open_bench(options.out) as bench:
        about = {**bench.about(), "payloads per request": options.payloads}
        print(head(about), flush=True)
        for knob in options.knobs:
            if knob == "backlog":
                size = int(options.gigabytes * backlog.GB)
                behind += backlog.measure_all(bench, size=size, seconds=options.seconds)
                continue
            for name in options.only:
                for demand in demands(knob, payloads=options.payloads, seconds=options.seconds):
                    points.append(measure(bench, contender(name), demand, knob=knob))
                    print(progress(points[-1]), flush=True)
    tables = [table(knob, points) for knob in options.knobs if knob != "backlog"]
    text = "\n\n".join([*tables, *([backlog.table(behind)] if behind else [])])
    print(f"\n{text}\n")
    runs = {"points": [*map(asdict, points)], "backlog": [*map(asdict, behind)]}
    texts = {"sweep.txt": f"{head(about)}\n\n{text}\n"}
    save(
        options.out, {**texts, "sweep.json": json.dumps({"about": about, **runs}, indent=1) + "\n"}
    )
