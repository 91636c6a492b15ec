"""The CPU of a request, step by step, each called alone in one thread: microseconds."""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.harness.environment import Bench, open_bench
from benchmarks.output.text import grid, head, save, show, title
from benchmarks.stages import background, request, threads
from benchmarks.stages.fixtures import OBJECT_PAYLOADS, Lab, Step

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


REQUEST, GROUP, OBJECT = "a request", "a group", "an object"
STEPS: dict[str, tuple[str, Step]] = {
    "request id": (REQUEST, request.make_request_id),
    "decode": (REQUEST, request.decode_body),
    "place, append in memory": (REQUEST, request.append),
    "future: made, done, of a group of 16": (REQUEST, request.settle),
    "receipt": (REQUEST, request.issue_receipt),
    "202, receipt included": (REQUEST, request.write_answer),
    "id and count of a response, of 16": (REQUEST, request.count),
    "a POST: all of these": (REQUEST, request.whole_post),
    "... with a nested member in the key": (REQUEST, request.partitioned_post("payload.user.name")),
    "... with the event's date in the key": (REQUEST, request.partitioned_post("event_date")),
    "... to three partitions": (REQUEST, request.partitioned_post("payload.type")),
    "the same by Flask": (REQUEST, request.application),
    "a known key, with an access file": (REQUEST, request.known_key()),
    "a known key with a limit of requests": (REQUEST, request.known_key(limit=10**9)),
    **{f"write, {n} in a group": (GROUP, background.write(n)) for n in GROUPS},
    **{f"write, sync, settle, {n} in a group": (GROUP, background.commit(n)) for n in GROUPS},
    **{f"the same with keys, {n} in a group": (GROUP, background.commit_keyed(n)) for n in GROUPS},
    "seal": (OBJECT, background.seal),
    f"read {OBJECT_PAYLOADS:,} payloads back": (OBJECT, background.read_back),
    f"compress {OBJECT_PAYLOADS:,} payloads": (OBJECT, background.compress),
    "PUT of that": (OBJECT, background.put),
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


def cell(lab: Lab, step: Step, *, size: int, repeats: int) -> str:
    """Time a step; where the service has changed so that it fails, name the error instead."""
    try:
        call, number = step(lab, size)
        return str(timed(call, number=number, repeats=repeats))
    except Exception as error:  # noqa: BLE001 (any change of the service may raise anything)
        return f"? {type(error).__name__}"


def steps(bench: Bench, *, sizes: Sequence[int], repeats: int) -> list[list[str]]:
    """Time every step for each number of payloads per request."""
    found = []
    with bench.sink as sink:
        environ = {"S3_BUCKET": "bucket", **sink.s3.environ(), **sink.settings}
        # boto3 looks there and nowhere else.
        os.environ.update(environ)
        lab = Lab(bench.workdir / "lab", environ)
        lab.directory.mkdir()
        for name, (unit, step) in STEPS.items():
            texts = [cell(lab, step, size=size, repeats=repeats) for size in sizes]
            found.append([name, unit, *texts, ""])
            print(name, *texts, flush=True)
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of this command."""
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N")
    parser.add_argument("--repeats", type=int, default=5, help="of each step")
    about = "of load on the running service for each mode and size; 0: leave that out"
    parser.add_argument("--seconds", type=int, default=3, help=about)


def run(options: argparse.Namespace) -> None:
    """Measure, print and save: a minute and a half."""
    sizes: Sequence[int] = options.sizes
    with open_bench(options.out) as bench:
        about = {**bench.about(), "figures": "microseconds, wall clock (CPU): the least of repeats"}
        print(head(about), flush=True)
        found = steps(bench, sizes=sizes, repeats=options.repeats)
        running = (
            threads.rows(bench, sizes=sizes, seconds=options.seconds) if options.seconds else []
        )
    heads = ["step", "of", *(f"x{size}" for size in sizes), ""]
    text = (
        f"{title('steps, each alone in one thread, by payloads per request')}\n{grid(heads, found)}"
    )
    if running:
        text += f"\n\n{threads.table(running, sizes=sizes)}"
    print(f"\n{text}\n")
    save(options.out, {"stages.txt": f"{head(about)}\n\n{text}\n"})
