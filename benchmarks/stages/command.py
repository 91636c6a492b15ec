"""The CPU of a request, step by step, each called alone in one thread: microseconds."""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.harness.environment import Bench, open_bench
from benchmarks.output.text import grid, head, save, show, title
from benchmarks.stages import background, request
from benchmarks.stages.fixtures import OBJECT_PAYLOADS, Call, Lab

SIZES = (1, 10, 100)
GROUPS = (1, 8, 64)
MICRO = 1e6


@dataclass(frozen=True, slots=True)
class Timing:
    """The least of several repeats, of wall clock and of CPU apart. Microseconds a call."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{show(self.wall)} ({show(self.cpu)})"


STAGES: dict[str, tuple[str, Callable[[Lab, int], Call]]] = {
    "decode": ("a request", request.decode_body),
    "append, in memory": ("a request", request.append),
    "receipt": ("a request", request.issue_receipt),
    "the 202": ("a request", request.write_answer),
    "hot route: all of these": ("a request", request.hot_route),
    "the same by Flask": ("a request", request.application),
    **{f"commit, {n} in a group": ("a group", background.commit(n)) for n in GROUPS},
    "seal": ("an object", background.seal),
    f"read {OBJECT_PAYLOADS:,} payloads back": ("an object", background.read_back),
    f"compress {OBJECT_PAYLOADS:,} payloads": ("an object", background.compress),
    "PUT of that": ("an object", background.put),
}


def timed(call: Callable[[], object], *, number: int, repeats: int) -> Timing:
    """Call so many times, again and again, and return the least of it."""
    call()
    found = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(number):
            call()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    walls, cpus = zip(*found, strict=True)
    return Timing(min(walls) / number * MICRO, min(cpus) / number * MICRO)


def cell(lab: Lab, stage: Callable[[Lab, int], Call], *, size: int, repeats: int) -> str:
    """Time a stage; where it is not what this file thinks it is, say so."""
    try:
        call, number = stage(lab, size)
        return str(timed(call, number=number, repeats=repeats))
    except Exception as error:  # noqa: BLE001 (any change of the service may raise anything)
        return f"? {type(error).__name__}"


def rows(bench: Bench, *, sizes: Sequence[int], repeats: int) -> list[list[str]]:
    """Time every stage for each number of payloads per request."""
    found = []
    with bench.sink as sink:
        environ = {"S3_BUCKET": "bucket", **sink.s3.environ(), **sink.settings}
        # boto3 looks there and nowhere else.
        os.environ.update(environ)
        lab = Lab(bench.workdir / "lab", environ)
        lab.directory.mkdir()
        for name, (unit, stage) in STAGES.items():
            texts = [cell(lab, stage, size=size, repeats=repeats) for size in sizes]
            found.append([name, unit, *texts, ""])
            print(name, *texts, flush=True)
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command line takes."""
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N")
    parser.add_argument("--repeats", type=int, default=5)


def run(options: argparse.Namespace) -> None:
    """Measure, print and save: under a minute."""
    with open_bench(options.out) as bench:
        about = {**bench.about(), "figures": "microseconds, wall clock (CPU): the least of repeats"}
        print(head(about), flush=True)
        found = rows(bench, sizes=options.sizes, repeats=options.repeats)
    heads = ["stage", "of", *(f"x{size}" for size in options.sizes), ""]
    text = f"{title('stages, by payloads per request')}\n{grid(heads, found)}"
    print(f"\n{text}\n")
    save(options.out, {"stages.txt": f"{head(about)}\n\n{text}\n"})
