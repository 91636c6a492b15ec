"""The budget of a request, stage by stage, each called alone in one thread: microseconds.

It reaches into the service. A stage that is not as it was is reported so, and the others go on.
"""

import argparse
import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.bench import Bench, open_bench
from benchmarks.lab import CONTENT_TYPE, OBJECT_PAYLOADS, Lab, bodies, lines, whole_object
from benchmarks.text import grid, head, save, show, title

SIZES = (1, 10, 100)
GROUPS = (1, 8, 64)
MICRO = 1e6

# What is timed: a call, and how many times it is called between two looks at the clock.
Call = tuple[Callable[[], object], int]


@dataclass(frozen=True, slots=True)
class Timing:
    """The least of several repeats, of wall clock and of CPU apart. Microseconds a call."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{show(self.wall)} ({show(self.cpu)})"


def decode_body(_: Lab, size: int) -> Call:
    """Turn a request's body into checked lines."""
    from app.ingest.formats import decode

    body = bodies(size)
    return lambda: decode(body(), content_type=CONTENT_TYPE), 200


def append(lab: Lab, size: int) -> Call:
    """Place a collection in its segment, in memory."""
    pipeline, given = lab.pipeline(), lines(size)
    return lambda: pipeline.accept("s", given, count=size), 200


def issue_receipt(lab: Lab, size: int) -> Call:
    """Make a receipt's id."""
    pipeline = lab.pipeline()
    [receipt] = pipeline.accept("s", lines(size), count=size)
    return lambda: pipeline.receipts.issue(receipt), 1000


def write_answer(lab: Lab, size: int) -> Call:
    """Make the 202: its receipts, and the document around them."""
    from app.ingest.handler import IngestHandler

    pipeline = lab.pipeline()
    receipts = pipeline.accept("s", lines(size), count=size)
    handler = IngestHandler(lab.settings(DURABILITY="memory"), pipeline=lambda: pipeline)
    return lambda: handler._accepted(receipts, pipeline), 1000


def hot_route(lab: Lab, size: int) -> Call:
    """Take a body in memory mode and answer, whoever speaks HTTP before it."""
    from app.ingest.fast_path import FastPath
    from app.ingest.handler import IngestHandler

    pipeline, body = lab.pipeline(), bodies(size)
    handler = IngestHandler(lab.settings(DURABILITY="memory"), pipeline=lambda: pipeline)
    begin = FastPath(handler, largest=1 << 20).begin
    send = lambda _: None  # noqa: E731
    call = lambda: begin("s", body(), content_type=CONTENT_TYPE, sent_id=None, send=send)  # noqa: E731
    return call, 200


def application(lab: Lab, size: int) -> Call:
    """Answer a request by Flask and its own client, without the hot route before it."""
    from app.factory import create_app

    pipeline, body = lab.pipeline(), bodies(size)
    app = create_app(lab.settings(DURABILITY="memory"), pipeline=lambda: pipeline)
    app.wsgi_app = app.wsgi_app.application  # type: ignore[method-assign, attr-defined]
    client = app.test_client()
    return lambda: client.post("/payloads", data=body(), content_type=CONTENT_TYPE), 100


def commit(group: int) -> Callable[[Lab, int], Call]:
    """Make the stage that writes and syncs a group of so many collections."""

    def stage(lab: Lab, size: int) -> Call:
        from workers.segments.future import Run
        from workers.spool.committer import Committer
        from workers.spool.counters import Counters

        committer = Committer(Counters.create(lab.directory / f"ledger-{group}-{size}"))
        segment, given = lab.segment(group * 1000 + size), lines(size)

        def call() -> None:
            for _ in range(group):
                segment.reserved_lines += size
                first = segment.reserved_lines - size + 1
                committer.append([Run(segment, first, given, size)])
            committer.step()

        return call, 10

    return stage


def seal(lab: Lab, size: int) -> Call:
    """Write a segment's seal, sync and rename; a collection is in it."""
    numbers = itertools.count(10**6 + size * 10**4)
    made = [lab.segment(next(numbers)) for _ in range(100)]
    for segment in made:
        segment.body.append(segment.header, [(1, lines(size))])
    ready = iter(made)
    return lambda: next(ready).body.seal(lines=size, size=1), 10


def read_back(lab: Lab, size: int) -> Call:
    """Read an object's lines out of its segment file, which the system has in memory."""
    segment = lab.segment(10**9 + size)
    for first, run in enumerate(whole_object(size)):
        segment.body.append(segment.header, [(first * size + 1, run)])
    return lambda: sum(map(len, segment.body.read())), 1


def compress(_: Lab, size: int) -> Call:
    """Compress an object's lines, which came in collections of this size."""
    from workers.upload.compression import pack

    runs = whole_object(size)
    return lambda: pack(runs, compression="gzip"), 1


def put(lab: Lab, size: int) -> Call:
    """Put such an object into an S3 that keeps nothing."""
    from workers.upload.compression import pack
    from workers.upload.s3 import Bucket

    bucket = Bucket.connect(lab.settings())
    body = pack(whole_object(size), compression="gzip").body
    return lambda: bucket.put("bucket", "key", body, metadata={}, encoding="gzip"), 5


STAGES: dict[str, tuple[str, Callable[[Lab, int], Call]]] = {
    "decode": ("a request", decode_body),
    "append, in memory": ("a request", append),
    "receipt": ("a request", issue_receipt),
    "the 202": ("a request", write_answer),
    "hot route: all of these": ("a request", hot_route),
    "the same by Flask": ("a request", application),
    **{f"commit, {n} in a group": ("a group", commit(n)) for n in GROUPS},
    "seal": ("an object", seal),
    f"read {OBJECT_PAYLOADS:,} payloads back": ("an object", read_back),
    f"compress {OBJECT_PAYLOADS:,} payloads": ("an object", compress),
    "PUT of that": ("an object", put),
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
