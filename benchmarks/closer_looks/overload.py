"""Past saturation: a slow S3 and a short queue, offered one to four times what can be stored."""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.harness.contenders import OURS, Contender, contender
from benchmarks.harness.environment import Bench, open_bench
from benchmarks.harness.running import Running
from benchmarks.load.bodies import Body
from benchmarks.load.open_loop import OpenLoop, Pace, at_quantile
from benchmarks.output.text import grid, head, save, show, title
from tests.support.s3 import FakeS3, Fault

TIMES = (1.0, 1.5, 2.0, 3.0, 4.0)
PROCESSES, WORKERS, QUEUE, OBJECT_PAYLOADS, PUT_SECONDS = 2, 2, 4, 100, 0.1
PAYLOADS = 10
BODY = Body(payloads=PAYLOADS)
# What S3 takes: each worker stores an object in the time of a PUT, and a request is part of one.
CAPACITY = PROCESSES * WORKERS * OBJECT_PAYLOADS / PUT_SECONDS / PAYLOADS
# Long enough for the queue to fill at the least of the loads above capacity.
WARM_SECONDS = 2.0
SETTINGS = {
    "WEB_CONCURRENCY": str(PROCESSES),
    "MAX_WORKERS": str(WORKERS),
    "MAX_QUEUE": str(QUEUE),
    "OBJECT_MAX_PAYLOADS": str(OBJECT_PAYLOADS),
}
MILLI = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A load beyond what can be stored. Requests a second, milliseconds."""

    contender: str
    times: float
    offered: float
    accepted: float
    refused: float
    accepted_p50_ms: float | None
    accepted_p99_ms: float | None
    refused_p50_ms: float | None
    refused_p99_ms: float | None
    # Other statuses, broken connections and requests without an answer.
    otherwise: int


def measure(bench: Bench, found: Contender, *, times: float, seconds: float) -> Step:
    """Offer so many times the capacity to a service with a slow S3 behind it."""
    pace = Pace(rate=CAPACITY * times, seconds=seconds, body=BODY)
    warm = Pace(rate=pace.rate, seconds=WARM_SECONDS, body=BODY)
    with FakeS3() as s3, tempfile.TemporaryDirectory(dir=bench.workdir) as directory:
        s3.faults(Fault(kind="slow", seconds=PUT_SECONDS))
        with Running(found, s3=s3, workdir=Path(directory), settings=SETTINGS) as running:
            OpenLoop(running.port, warm).run()
            seen = OpenLoop(running.port, pace).run()
    good, bad = seen.latencies.get(202, ()), seen.latencies.get(503, ())
    answers = sum(map(len, seen.latencies.values()))
    return Step(
        contender=found.name,
        times=times,
        offered=pace.rate,
        accepted=seen.achieved,
        refused=len(bad) / seconds,
        accepted_p50_ms=milli(good, 0.50),
        accepted_p99_ms=milli(good, 0.99),
        refused_p50_ms=milli(bad, 0.50),
        refused_p99_ms=milli(bad, 0.99),
        otherwise=answers - len(good) - len(bad) + seen.broken + len(seen.waited),
    )


def milli(ordered: Sequence[float], quantile: float) -> float | None:
    """Return a quantile of sorted seconds in milliseconds."""
    found = at_quantile(ordered, quantile)
    return None if found is None else found * MILLI


def table(name: str, steps: Sequence[Step]) -> str:
    """Lay out a contender's steps."""
    heads = (
        "offered", "requests/s", "202/s", "of capacity", "503/s", "202: p50 ms", "p99 ms",
        "503: p50 ms", "p99 ms", "otherwise",
    )  # fmt: skip
    rows = [
        [
            f"{step.times:g}x",
            *map(show, (step.offered, step.accepted)),
            f"{step.accepted / CAPACITY:.0%}",
            *map(show, (step.refused, step.accepted_p50_ms, step.accepted_p99_ms)),
            *map(show, (step.refused_p50_ms, step.refused_p99_ms)),
            str(step.otherwise),
        ]
        for step in steps
        if step.contender == name
    ]
    return f"{title(name)}\n{grid(heads, rows)}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of this command."""
    parser.add_argument("--only", nargs="+", choices=OURS, default=["memory", "disk"])
    parser.add_argument("--seconds", type=int, default=3, help="of load in each step")


def run(options: argparse.Namespace) -> None:
    """Measure, print and save: about ten seconds a step."""
    with open_bench(options.out) as bench:
        about = {
            **bench.about(),
            "load": "open loop; latencies from the scheduled moment",
            "s3": f"the test harness's, each PUT takes {PUT_SECONDS:g} s",
            "settings": " ".join(f"{name}={value}" for name, value in SETTINGS.items()),
            "capacity": f"{CAPACITY:g} requests/s of {PAYLOADS} payloads",
        }
        print(head(about), flush=True)
        steps = []
        for name in options.only:
            for times in TIMES:
                found = contender(name)
                steps.append(measure(bench, found, times=times, seconds=options.seconds))
                print(f"{name} {times:g}x: {show(steps[-1].accepted)} 202/s", flush=True)
    text = "\n\n".join(table(name, steps) for name in options.only)
    print(f"\n{text}\n")
    data = {"about": about, "steps": [asdict(step) for step in steps]}
    texts = {"overload.txt": f"{head(about)}\n\n{text}\n"}
    save(options.out, {**texts, "overload.json": json.dumps(data, indent=1) + "\n"})
