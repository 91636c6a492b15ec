"""CPU per payload of this revision over that of another one, in interleaved pairs of runs."""

import argparse
import dataclasses
import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.comparison.forms import FORMS, PLAIN
from benchmarks.comparison.measurement import Cell, measure
from benchmarks.harness.contenders import OURS, Contender, contender
from benchmarks.harness.environment import Bench, open_bench
from benchmarks.output.text import head, save, show
from benchmarks.pairs import report
from benchmarks.pairs.report import AGAIN, NEW, OLD, Pair, Row
from benchmarks.pairs.revision import checkout, describe

WAIT_SECONDS = 20.0
# Each is first as often as the others, so that none always follows another.
ORDERS = ((OLD, NEW, AGAIN), (NEW, AGAIN, OLD), (AGAIN, OLD, NEW))


def measure_pair(bench: Bench, row: Row, *, number: int, old: Path, seconds: int) -> Pair:
    """Run old, new and old again, each with fresh processes, in an order that turns.

    Raises:
        AssertionError: one of them does not start.
        OSError, subprocess.SubprocessError: one of them breaks, or the load does.
    """
    found: dict[str, Cell] = {}
    form = next(form for form in FORMS if form.name == row.form)
    for name in ORDERS[number % len(ORDERS)]:
        runs = version(row.contender, name, old=old)
        demand = form.demand(row.payloads, seconds=seconds, bare=False)
        cell = measure(bench, runs, demand, form=row.form, wait_seconds=WAIT_SECONDS)
        found[name] = dataclasses.replace(cell, round=number)
    return Pair(row=row, old=found[OLD], new=found[NEW], again=found[AGAIN])


def version(name: str, which: str, *, old: Path) -> Contender:
    """Return a contender of this checkout, or of the old one."""
    found = dataclasses.replace(contender(name), name=f"{name} {which}")
    return found if which == NEW else dataclasses.replace(found, root=old)


def rows(options: argparse.Namespace) -> list[Row]:
    """Return what is measured in each round."""
    return [
        Row(contender=name, payloads=size, form=form)
        for name in options.only
        for form in options.forms
        for size in options.sizes
    ]


def measure_all(bench: Bench, options: argparse.Namespace, *, old: Path) -> list[Pair]:
    """Measure a pair of every row, again and again, so that all rows see the same drift.

    A pair that fails is reported, and missing from the result.
    """
    pairs: list[Pair] = []
    begun = time.monotonic()
    for number in range(options.pairs):
        for row in rows(options):
            try:
                pair = measure_pair(bench, row, number=number, old=old, seconds=options.seconds)
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                print(f"FAILED  pair {number + 1}  {row}: {error}", flush=True)
                continue
            pairs.append(pair)
            print(progress(pair, time.monotonic() - begun), flush=True)
    return pairs


def progress(pair: Pair, seconds: float) -> str:
    """Write the result of a pair in a line."""
    return (
        f"{seconds:4.0f} s  pair {pair.old.round + 1}  {pair.row}:"
        f" old {show(pair.old.cpu_us_per_payload)}, new {show(pair.new.cpu_us_per_payload)},"
        f" old again {show(pair.again.cpu_us_per_payload)} us/payload"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of this command."""
    parser.add_argument(
        "--against", required=True, metavar="REV", help="a revision of git, or a checkout"
    )
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--only", nargs="+", choices=OURS, default=["disk", "memory"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 100], metavar="N")
    names = [form.name for form in FORMS]
    parser.add_argument("--forms", nargs="+", choices=names, default=[PLAIN], help="of the bodies")
    parser.add_argument("--seconds", type=int, default=2, help="of load in each run")


def run(options: argparse.Namespace) -> None:
    """Measure, print and save: a quarter of an hour."""
    with open_bench(options.out) as bench, tempfile.TemporaryDirectory(dir=bench.workdir) as place:
        try:
            old = checkout(options.against, into=Path(place))
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"--against {options.against}: {error}") from error
        about = {
            **bench.about(),
            "old": describe(options.against),
            "new": describe("."),
            "each run": f"{options.seconds} s of load, then until all is stored",
        }
        print(head(about), flush=True)
        pairs = measure_all(bench, options, old=old)
    text = report.table(pairs)
    print(f"\n{text}\n")
    save(options.out, files(pairs, about=about, text=text))


def files(pairs: Sequence[Pair], *, about: dict[str, object], text: str) -> dict[str, str]:
    """Return the table as text and every run as JSON, by the name of the file."""
    data = {"about": about, "pairs": [dataclasses.asdict(pair) for pair in pairs]}
    return {
        "pairs.txt": f"{head(about)}\n\n{text}\n",
        "pairs.json": json.dumps(data, indent=1) + "\n",
    }
