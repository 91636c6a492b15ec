"""The main table: every contender in turn, round after round."""

import argparse
import dataclasses
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.comparison import forms, report, targets
from benchmarks.comparison.forms import FORMS, LARGE, PLAIN, Form
from benchmarks.comparison.measurement import Cell, measure
from benchmarks.comparison.report import DOLLARS_PER_PUT
from benchmarks.harness.contenders import CONTENDERS, Contender
from benchmarks.harness.environment import Bench, open_bench
from benchmarks.harness.servers import build_original, lacking
from benchmarks.load.bodies import CHUNK_BYTES, GZIP_LEVEL, ZSTD_LEVEL
from benchmarks.output.text import head, save, show

ALL_STORED_SECONDS = 20.0
# A short run has this service and the original, once each.
QUICK = ("disk", "memory", "disk-gthread", "memory-gthread", "granian-disk", "granian-memory", "go")
QUICK_WAIT_SECONDS = 2.5


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a programme."""

    contender: Contender
    form: Form
    payloads: int

    def __str__(self) -> str:
        return f"x{self.payloads}  {self.contender.name}  {self.form.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """What is run, and for how long at most: no round begins that would end after the budget."""

    contenders: Sequence[Contender]
    sizes: Sequence[int]
    forms: Sequence[Form]
    rounds: int
    load_seconds: int
    wait_seconds: float
    budget_seconds: float

    def round(self, number: int) -> Sequence[Run]:
        """Return a round's runs, backwards in every second, so that none always follows another."""
        runs = [
            *(Run(one, FORMS[0], size) for size in self.sizes for one in self.contenders),
            *(
                Run(one, form, size)
                for one in self.contenders
                for form in self.forms
                for size in form.sizes.get(one.name, ())
                if size in (*self.sizes, *LARGE)
            ),
        ]
        # Stable: what is compared with each other runs close together.
        runs = sorted(
            (run for run in runs if number == 1 or not run.contender.earlier),
            key=lambda run: run.payloads,
        )
        return runs if number % 2 else runs[::-1]


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
        """Run all rounds that there is time for, and print each run's result."""
        longest = 0.0
        for number in range(1, self.programme.rounds + 1):
            round_begun = time.monotonic()
            if round_begun - self.begun + longest > self.programme.budget_seconds:
                print(f"No time for round {number} in {self.programme.budget_seconds:g} s.")
                break
            for run in self.programme.round(number):
                self._try(run, number)
            longest = max(longest, time.monotonic() - round_begun)

    def _try(self, run: Run, number: int) -> None:
        """Measure; where a contender breaks, report it and go on with the others."""
        seconds, wait_seconds = self.programme.load_seconds, self.programme.wait_seconds
        demand = run.form.demand(run.payloads, seconds=seconds, bare=run.contender.bare)
        try:
            cell = measure(
                self.bench, run.contender, demand, form=run.form.name, wait_seconds=wait_seconds
            )
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            failure = f"FAILED  round {number}  {run}: {error}"
            self.failures.append(failure.splitlines()[0])
            print(failure, flush=True)
        else:
            self.cells.append(dataclasses.replace(cell, round=number))
            print(progress(self.cells[-1], time.monotonic() - self.begun), flush=True)


def progress(cell: Cell, seconds: float) -> str:
    """Write the result of a run in a line."""
    return (
        f"{seconds:4.0f} s  round {cell.round}  x{cell.payloads_per_request:<6}"
        f"{cell.contender:15}{cell.form:8} {show(cell.stored_per_second):>11} payloads/s stored,"
        f" {show(cell.cpu_us_per_payload):>6} us CPU each"
        + (f", {cell.unstored:,} not stored" if cell.unstored > 0 else "")
    )


def describe(bench: Bench, programme: Programme) -> dict[str, object]:
    """Return the conditions of this table, by name."""
    return {
        **bench.about(),
        "each run": f"{programme.load_seconds} s of load, then at most"
        f" {programme.wait_seconds:g} s until all is stored; rounds planned: {programme.rounds}"
        + (", 1 for the earlier designs" if programme.rounds > 1 else ""),
        "figures": "median (lowest-highest) of rounds; /first, /go, /fluent-bit: over that row",
        "price": f"${DOLLARS_PER_PUT * 1000:g} per 1,000 PUTs: S3 Standard, us-east-1,"
        " aws.amazon.com/s3/pricing",
        "forms": f"gzip at level {GZIP_LEVEL}, zstd at level {ZSTD_LEVEL}, chunks of"
        f" {CHUNK_BYTES:,} bytes; 16 connections for 1 MB, 4 for 10 MB",
        **{f"  {contender.name}": contender.about for contender in programme.contenders},
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of this command."""
    quick = "one short round, two minutes: neither Fluent Bit nor the earlier designs"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of load in each run")
    parser.add_argument("--budget", type=float, default=1800, help="seconds for all rounds")
    names = [contender.name for contender in CONTENDERS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="CONTENDER")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 100], metavar="N")
    kinds = [*(form.name for form in FORMS if form.name != PLAIN), "large"]
    about = "of bodies beside the plain ones; large: 1 and 10 MB; none: --forms without a name"
    parser.add_argument("--forms", nargs="*", choices=kinds, default=kinds, help=about)


def plan(options: argparse.Namespace) -> Programme:
    """Make the programme that the command line asks for."""
    quick: bool = options.quick
    names = options.only or (QUICK if quick else [contender.name for contender in CONTENDERS])
    return Programme(
        contenders=[contender for contender in CONTENDERS if contender.name in names],
        sizes=options.sizes,
        forms=chosen_forms(options.forms),
        rounds=1 if quick else options.rounds,
        load_seconds=1 if quick else options.seconds,
        wait_seconds=QUICK_WAIT_SECONDS if quick else ALL_STORED_SECONDS,
        budget_seconds=options.budget,
    )


def chosen_forms(names: Sequence[str]) -> list[Form]:
    """Return the forms of these names; large sizes only if `large` is one of them."""
    kept = [form for form in FORMS if form.name in (PLAIN, *names)]
    if "large" in names:
        return kept
    return [
        dataclasses.replace(
            form,
            sizes={
                name: [size for size in sizes if size not in LARGE]
                for name, sizes in form.sizes.items()
            },
        )
        for form in kept
    ]


def prepare(bench: Bench, programme: Programme) -> tuple[Bench, Programme]:
    """Build the original in Go if it takes part; leave out contenders that are missing here."""
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
    tables = (report.table(done.cells), forms.table(done.cells), targets.table(done.cells))
    text = "\n\n".join(filter(None, tables))
    print("", text, "", *done.failures, sep="\n")
    save(options.out, report.files(done.cells, about=about, text=text))
