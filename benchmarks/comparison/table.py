"""The main table: every contender in turn, round after round, and what became of it."""

import argparse
import dataclasses
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.comparison import report, targets
from benchmarks.comparison.report import DOLLARS_PER_PUT, MIB, Cell
from benchmarks.harness.contenders import CONTENDERS, Contender
from benchmarks.harness.environment import Bench, open_bench
from benchmarks.harness.servers import build_original, lacking
from benchmarks.load.closed_loop import Demand
from benchmarks.output.text import head, save, show

ALL_STORED_SECONDS = 20.0
# What a short run is for: this service and the original, once each.
QUICK = ("disk", "memory", "disk-gthread", "memory-gthread", "granian-disk", "granian-memory", "go")
QUICK_WAIT_SECONDS = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """What is run, and for how long at most: no round begins that would end after the budget."""

    contenders: Sequence[Contender]
    sizes: Sequence[int]
    rounds: int
    load_seconds: int
    wait_seconds: float
    budget_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Carries a programme out."""

    bench: Bench
    programme: Programme
    cells: list[Cell] = field(default_factory=list)
    # Why runs came to nothing.
    failures: list[str] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        """Run all rounds that there is time for, saying how it goes."""
        longest = 0.0
        for number in range(1, self.programme.rounds + 1):
            round_begun = time.monotonic()
            if round_begun - self.begun + longest > self.programme.budget_seconds:
                print(f"No time for round {number} in {self.programme.budget_seconds:g} s.")
                break
            for size in self.programme.sizes:
                for contender in in_turn(self.programme.contenders, number):
                    self._try(contender, size=size, number=number)
            longest = max(longest, time.monotonic() - round_begun)

    def _try(self, contender: Contender, *, size: int, number: int) -> None:
        """Measure; where a contender breaks, say so and go on with the others."""
        try:
            cell = measure(self.bench, contender, size=size, programme=self.programme)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            failure = f"FAILED  round {number}  x{size}  {contender.name}: {error}"
            self.failures.append(failure.splitlines()[0])
            print(failure, flush=True)
        else:
            self.cells.append(dataclasses.replace(cell, round=number))
            print(progress(self.cells[-1], time.monotonic() - self.begun), flush=True)


def measure(bench: Bench, contender: Contender, *, size: int, programme: Programme) -> Cell:
    """Start a contender, load it, wait until everything is stored, and kill it."""
    with bench.running(contender) as running:
        cpu, begun = running.cpu_seconds(), time.monotonic()
        demand = Demand(payloads=size, seconds=programme.load_seconds, bare=contender.bare)
        seen = bench.load.run(running.port, demand)
        loaded = time.monotonic()
        counts = running.wait_stored(timeout=programme.wait_seconds)
        # What it holds back on purpose, to fill an object, is not work left over.
        tail = max(0.0, time.monotonic() - loaded - contender.waits_seconds)
        cpu = running.cpu_seconds() - cpu
        stored = counts.stored
        return Cell(
            contender=contender.name,
            payloads_per_request=size,
            requests_per_second=seen.accepted / seen.seconds,
            accepted_per_second=counts.accepted / (loaded - begun),
            stored_per_second=stored / (loaded - begun + tail),
            cpu_us_per_payload=cpu / stored * report.MICRO if stored else None,
            p50_ms=seen.p50 * 1e3 if seen.accepted else None,
            p99_ms=seen.p99 * 1e3 if seen.accepted else None,
            peak_rss_mib=running.peak_rss_bytes() / MIB,
            puts_per_million=bench.sink.puts() / stored * report.MICRO if stored else None,
            refused=seen.refused,
            broken=seen.broken,
            unstored=counts.accepted - stored,
        )


def in_turn(contenders: Sequence[Contender], number: int) -> Sequence[Contender]:
    """Return a round's contenders, backwards in every second: none is always the one after."""
    present = [contender for contender in contenders if number == 1 or not contender.earlier]
    return present if number % 2 else present[::-1]


def progress(cell: Cell, seconds: float) -> str:
    """Say in a line how a run went."""
    return (
        f"{seconds:4.0f} s  round {cell.round}  x{cell.payloads_per_request:<4}"
        f"{cell.contender:15} {show(cell.stored_per_second):>11} payloads/s stored,"
        f" {show(cell.cpu_us_per_payload):>6} us CPU each"
        + (f", {cell.unstored:,} not stored" if cell.unstored > 0 else "")
    )


def describe(bench: Bench, programme: Programme) -> dict[str, object]:
    """Say under which conditions this table was made."""
    return {
        **bench.about(),
        "each run": f"{programme.load_seconds} s of load, then at most"
        f" {programme.wait_seconds:g} s until all is stored; rounds planned: {programme.rounds}"
        + (", 1 for the earlier designs" if programme.rounds > 1 else ""),
        "figures": "median (lowest-highest) of rounds; /first, /go, /fluent-bit: over that row",
        "price": f"${DOLLARS_PER_PUT * 1000:g} per 1,000 PUTs: S3 Standard, us-east-1,"
        " aws.amazon.com/s3/pricing",
        **{f"  {contender.name}": contender.about for contender in programme.contenders},
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command line takes."""
    quick = "one short round, a minute: neither Fluent Bit nor the earlier designs"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of load in each run")
    parser.add_argument("--budget", type=float, default=700, help="seconds for all rounds")
    names = [contender.name for contender in CONTENDERS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="CONTENDER")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 100], metavar="N")


def plan(options: argparse.Namespace) -> Programme:
    """Make of the command line what is to be run."""
    quick: bool = options.quick
    names = options.only or (QUICK if quick else [contender.name for contender in CONTENDERS])
    return Programme(
        contenders=[contender for contender in CONTENDERS if contender.name in names],
        sizes=options.sizes,
        rounds=1 if quick else options.rounds,
        load_seconds=1 if quick else options.seconds,
        wait_seconds=QUICK_WAIT_SECONDS if quick else ALL_STORED_SECONDS,
        budget_seconds=options.budget,
    )


def prepare(bench: Bench, programme: Programme) -> tuple[Bench, Programme]:
    """Build the original in Go if it takes part; go on without those that cannot be had here."""
    kinds = {contender.server for contender in programme.contenders}
    missing = {kind: why for kind in kinds if (why := lacking(kind))}
    if "original" in kinds - set(missing):
        try:
            bench = dataclasses.replace(bench, original=build_original(bench.out))
        except subprocess.SubprocessError as error:
            missing["original"] = str(error)
    present = [one for one in programme.contenders if one.server not in missing]
    for absent in programme.contenders:
        if absent not in present:
            print(f"No {absent.name} row: {missing[absent.server]}", flush=True)
    return bench, dataclasses.replace(programme, contenders=present)


def run(options: argparse.Namespace) -> None:
    """Measure, print and save."""
    with open_bench(options.out) as found:
        bench, programme = prepare(found, plan(options))
        about = describe(bench, programme)
        print(head(about), flush=True)
        done = Table(bench=bench, programme=programme)
        done.run()
    about["failed"] = done.failures
    text = f"{report.table(done.cells)}\n\n{targets.table(done.cells)}"
    print("", text, "", *done.failures, sep="\n")
    save(options.out, report.files(done.cells, about=about, text=text))
