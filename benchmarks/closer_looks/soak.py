"""Memory over a long flood of 100 payloads a request, at the default settings, every second."""

import argparse
import concurrent.futures
import contextlib
import csv
import io
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from benchmarks.harness.contenders import OURS, Contender, contender
from benchmarks.harness.environment import Bench, open_bench
from benchmarks.load.bodies import Body
from benchmarks.load.closed_loop import Demand, Loaded
from benchmarks.output import svg
from benchmarks.output.text import grid, head, save, show, title

PAYLOADS = 100
MIB = 1 << 20
ROWS = 20
# A shorter second half has no trend that means anything.
TREND_SECONDS = 60
# The default, where other benchmarks have younger segments.
DEFAULTS = {"OBJECT_MAX_AGE_SECONDS": "10"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The whole service at a moment: seconds since the flood began, MiB, payloads so far."""

    contender: str
    second: float
    rss_mib: float
    pss_mib: float
    accepted: int
    stored: int


def soak(bench: Bench, found: Contender, *, seconds: int) -> tuple[list[Sample], Loaded]:
    """Flood a service, and sample it each second. Blocks for so many seconds and a few more."""
    samples = []
    with (
        bench.running(found, DEFAULTS) as running,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        begun = time.monotonic()
        demand = Demand(seconds=seconds, body=Body(payloads=PAYLOADS))
        flood = pool.submit(bench.load.run, running.port, demand)
        accepted = stored = 0
        while not flood.done():
            # A flooded service may be slow to answer; its memory is read without asking it.
            with contextlib.suppress(OSError):
                accepted, stored = running.counts()
            samples.append(
                Sample(
                    contender=found.name,
                    second=time.monotonic() - begun,
                    rss_mib=running.rss_bytes() / MIB,
                    pss_mib=running.pss_bytes() / MIB,
                    accepted=accepted,
                    stored=stored,
                )
            )
            concurrent.futures.wait([flood], timeout=begun + len(samples) - time.monotonic())
        return samples, flood.result()


def table(samples: Sequence[Sample], seen: Loaded) -> str:
    """Lay out about twenty of the samples, and their summary."""
    chosen = [samples[at * (len(samples) - 1) // (ROWS - 1)] for at in range(ROWS)]
    rows = [
        [
            f"{sample.second:.0f} s",
            f"{sample.rss_mib:.1f}",
            f"{sample.pss_mib:.1f}",
            f"{sample.accepted:,}",
            f"{sample.accepted - sample.stored:,}",
            "",
        ]
        for sample in dict.fromkeys(chosen)
    ]
    heads = ("at", "RSS MiB", "PSS MiB", "accepted", "not stored", "")
    heading = title(f"{samples[0].contender}, {PAYLOADS} payloads per request")
    return f"{heading}\n{grid(heads, rows)}\n{summary(samples, seen)}"


def summary(samples: Sequence[Sample], seen: Loaded) -> str:
    """Write the highest values, and how much the second half grew."""
    half = samples[len(samples) // 2 :]
    highest = max(sample.rss_mib for sample in samples)
    shared_once = max(sample.pss_mib for sample in samples)
    growth = ""
    if half[-1].second - half[0].second >= TREND_SECONDS:
        trend = statistics.linear_regression(
            [sample.second for sample in half], [sample.pss_mib for sample in half]
        )
        growth = f" trend of the second half: {trend.slope * 60:+.2f} MiB PSS a minute;"
    return (
        f"highest: {highest:.1f} MiB RSS summed over processes, {shared_once:.1f} MiB PSS;"
        f"{growth} {show(seen.accepted / seen.seconds)} requests/s, {seen.refused:,} refused,"
        f" {seen.broken:,} broken"
    )


def plot(samples: Sequence[Sample]) -> str:
    """Draw memory over time."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for sample in samples:
        lines.setdefault(f"{sample.contender} RSS", []).append((sample.second, sample.rss_mib))
        lines.setdefault(f"{sample.contender} PSS", []).append((sample.second, sample.pss_mib))
    return svg.plot(lines, across="seconds of flood", up="MiB, all processes", dots=False)


def as_csv(samples: Sequence[Sample]) -> str:
    """Write every sample."""
    lines = io.StringIO()
    writer = csv.DictWriter(lines, [field.name for field in fields(Sample)])
    writer.writeheader()
    writer.writerows(map(asdict, samples))
    return lines.getvalue()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of this command."""
    parser.add_argument("--only", nargs="+", choices=OURS, default=["memory", "disk"])
    parser.add_argument("--seconds", type=int, default=600, help="of load, for each contender")


def run(options: argparse.Namespace) -> None:
    """Measure, print and save."""
    samples: list[Sample] = []
    tables = []
    with open_bench(options.out) as bench:
        about = {**bench.about(), "PSS": "pages that processes share count once"}
        print(head(about), flush=True)
        for name in options.only:
            taken, seen = soak(bench, contender(name), seconds=options.seconds)
            samples += taken
            tables.append(table(taken, seen))
            print(f"\n{tables[-1]}", flush=True)
    texts = {"soak.txt": "\n\n".join([head(about), *tables]) + "\n", "soak.svg": plot(samples)}
    save(options.out, {**texts, "soak.csv": as_csv(samples)})
