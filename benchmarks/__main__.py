"""Runs the contenders in turn, round after round, and prints what became of them.

Everything is on loopback, and bounded in count and time. Compare a run with itself only.
"""

import argparse
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import report
from benchmarks.contenders import CONTENDERS, Contender, Running
from benchmarks.load import Load, Sink, find_load, find_sink
from benchmarks.report import DOLLARS_PER_PUT, MIB, Cell
from tests.harness.s3 import ROOT

CONNECTIONS = 64
ALL_STORED_SECONDS = 5.0


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
class Bench:
    """The two ends, and where the contenders' files go."""

    load: Load
    sink: Sink
    workdir: Path
    # Why runs came to nothing.
    failures: list[str] = field(default_factory=list)

    def measure(
        self, contender: Contender, *, size: int, number: int, programme: Programme
    ) -> Cell:
        """Start a contender, load it, wait until everything is stored, and kill it."""
        with self.sink as sink, tempfile.TemporaryDirectory(dir=self.workdir) as directory:
            home = Path(directory)
            with Running(contender, s3=sink.s3, workdir=home, settings=sink.settings) as running:
                cpu, begun = running.cpu_seconds(), time.monotonic()
                seen = self.load.run(running.port, payloads=size, seconds=programme.load_seconds)
                loaded = time.monotonic()
                counts = running.wait_stored(timeout=programme.wait_seconds)
                # What it holds back on purpose, to fill an object, is not work left over.
                tail = max(0.0, time.monotonic() - loaded - contender.waits_seconds)
                cpu = running.cpu_seconds() - cpu
                stored = counts.stored
                return Cell(
                    contender=contender.name,
                    payloads_per_request=size,
                    round=number,
                    requests_per_second=seen.accepted / seen.seconds,
                    accepted_per_second=counts.accepted / (loaded - begun),
                    stored_per_second=stored / (loaded - begun + tail),
                    cpu_us_per_payload=cpu / stored * report.MICRO if stored else None,
                    p50_ms=seen.p50 * 1e3 if seen.accepted else None,
                    p99_ms=seen.p99 * 1e3 if seen.accepted else None,
                    peak_rss_mib=running.peak_rss_bytes() / MIB,
                    puts_per_million=sink.puts() / stored * report.MICRO if stored else None,
                    refused=seen.refused,
                    broken=seen.broken,
                    unstored=counts.accepted - stored,
                )

    def run(self, programme: Programme) -> list[Cell]:
        """Carry the programme out, saying how it goes."""
        begun, longest = time.monotonic(), 0.0
        cells: list[Cell] = []
        for number in range(1, programme.rounds + 1):
            round_begun = time.monotonic()
            if round_begun - begun + longest > programme.budget_seconds:
                print(f"No time for round {number}: {programme.budget_seconds:g} s are used up.")
                break
            for size in programme.sizes:
                for contender in in_turn(programme.contenders, number):
                    cell = self._try(contender, size=size, number=number, programme=programme)
                    if cell is not None:
                        cells.append(cell)
                        print(progress(cell, time.monotonic() - begun), flush=True)
            longest = max(longest, time.monotonic() - round_begun)
        return cells

    def _try(
        self, contender: Contender, *, size: int, number: int, programme: Programme
    ) -> Cell | None:
        """Measure; where a contender breaks, say so and go on with the others."""
        try:
            return self.measure(contender, size=size, number=number, programme=programme)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            failure = f"FAILED  round {number}  x{size}  {contender.name}: {error}"
            self.failures.append(failure.splitlines()[0])
            print(failure, flush=True)
            return None


def in_turn(contenders: Sequence[Contender], number: int) -> Sequence[Contender]:
    """Return the contenders, backwards in every second round: none is always the one after."""
    return contenders if number % 2 else contenders[::-1]


def progress(cell: Cell, seconds: float) -> str:
    """Say in a line how a run went."""
    cpu = cell.cpu_us_per_payload
    return (
        f"{seconds:4.0f} s  round {cell.round}  x{cell.payloads_per_request:<4}"
        f"{cell.contender:13} {cell.stored_per_second:>11,.0f} payloads/s stored,"
        f" {'-' if cpu is None else report.show(cpu):>6} us CPU each"
        + (f", {cell.unstored:,} not stored" if cell.unstored > 0 else "")
    )


def file_system(path: Path) -> str:
    """Return the type of the file system that a path is on (proc(5), mountinfo)."""
    found = {"/": "unknown"}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        found[left.split()[4]] = right.split()[0]
    within = (str(at) for at in (path.resolve(), *path.resolve().parents))
    return next(found[at] for at in within if at in found)


def describe(bench: Bench, programme: Programme) -> dict[str, object]:
    """Say under which conditions this run was made."""
    file_type = file_system(bench.workdir)
    warning = ": fsync costs nothing there, so that disk looks like memory"
    return {
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load": bench.load.about,
        "s3": bench.sink.about,
        "spool on": file_type + (warning if file_type in ("tmpfs", "ramfs") else ""),
        "each run": f"{programme.load_seconds} s of load, then at most"
        f" {programme.wait_seconds:g} s until all is stored; {programme.rounds} rounds planned",
        "figures": "median (lowest-highest) of rounds; ratios to the first row",
        "price": f"${DOLLARS_PER_PUT * 1000:g} per 1,000 PUTs: S3 Standard, us-east-1,"
        " aws.amazon.com/s3/pricing",
        **{f"  {contender.name}": contender.about for contender in programme.contenders},
    }


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, under a minute")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of load in each run")
    parser.add_argument("--budget", type=float, default=285, help="seconds for all rounds")
    names = [contender.name for contender in CONTENDERS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="CONTENDER")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 100], metavar="N")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    return parser.parse_args()


def plan(options: argparse.Namespace) -> Programme:
    """Make of the command line what is to be run."""
    quick: bool = options.quick
    return Programme(
        contenders=[contender for contender in CONTENDERS if contender.name in options.only],
        sizes=options.sizes if not quick else options.sizes[:: max(1, len(options.sizes) - 1)],
        rounds=1 if quick else options.rounds,
        load_seconds=1 if quick else options.seconds,
        wait_seconds=ALL_STORED_SECONDS / 2 if quick else ALL_STORED_SECONDS,
        budget_seconds=options.budget,
    )


def main() -> None:
    """Measure, print and save."""
    options = parse()
    programme = plan(options)
    options.out.mkdir(parents=True, exist_ok=True)
    # The spool must be on a disk like the one it is for; /tmp is often memory.
    with tempfile.TemporaryDirectory(dir=options.out, prefix="run-") as directory:
        workdir = Path(directory)
        load, sink = find_load(workdir, connections=CONNECTIONS), find_sink(workdir)
        bench = Bench(load=load, sink=sink, workdir=workdir)
        about = describe(bench, programme)
        print("\n".join(f"{name}: {value}" for name, value in about.items()), flush=True)
        cells = bench.run(programme)
    about["failed"] = bench.failures
    print(f"\n{report.table(cells)}\n")
    for failure in bench.failures:
        print(failure)
    for path in report.save(options.out, cells, about=about):
        print(f"saved {path}")


if __name__ == "__main__":
    main()
