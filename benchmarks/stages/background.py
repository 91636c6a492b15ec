"""The steps behind a 202: the committer's write and sync, and an object on its way to S3."""

import itertools
from collections.abc import Callable

from app.ingest.idempotency import IdempotentRequest
from benchmarks.stages.fixtures import Call, Lab, lines, whole_object
from workers.segments.future import Run
from workers.spool.spool import Spool
from workers.stores.committer import Committer
from workers.stores.disk_store import DiskStore
from workers.upload.compression import pack
from workers.upload.s3 import Bucket

# So many keys are sent by one step at most.
MAX_KEYS = 1 << 16


def commit(group: int) -> Callable[[Lab, int], Call]:
    """Make the step that writes and syncs a group of so many collections."""

    def step(lab: Lab, size: int) -> Call:
        store = DiskStore(Spool(lab.directory / f"spool-{group}-{size}"), max_bytes=1 << 40)
        committer = Committer(store)
        header, given = lab.segment(group * 1000 + size).header, lines(size)
        segment = store.create(header)

        def call() -> None:
            for _ in range(group):
                segment.reserved_lines += size
                first = segment.reserved_lines - size + 1
                committer.append([Run(segment, first, given, size)])
            committer.step()

        return call, 10

    return step


def commit_keyed(group: int) -> Callable[[Lab, int], Call]:
    """Make the step that claims an idempotency key for each of a group, and commits it."""

    def step(lab: Lab, size: int) -> Call:
        spool = Spool(lab.directory / f"keyed-{group}-{size}")
        store = DiskStore(spool, max_bytes=1 << 40)
        keys = store.use_keys(lab.settings())
        keys.read()
        committer = Committer(store)
        header, given = lab.segment(10**7 + group * 1000 + size).header, lines(size)
        segment = store.create(header)
        # Made before, as clients make them.
        sent = iter([f'"8e03978e-40d5-43dd-bc93-{number:012}"' for number in range(MAX_KEYS)])

        def call() -> None:
            for _ in range(group):
                request = IdempotentRequest(keys, caller="k", stream="s", header=next(sent))
                request.begin(given)
                segment.reserved_lines += size
                first = segment.reserved_lines - size + 1
                committer.append([Run(segment, first, given, size)], claim=request.claim)
                request.hand_over()
            committer.step()

        return call, 10

    return step


def write(group: int) -> Callable[[Lab, int], Call]:
    """Make the step that frames and writes such a group, and does not sync it."""

    def step(lab: Lab, size: int) -> Call:
        numbers = itertools.count(1, size)
        segment, given = lab.segment(10**8 + group * 1000 + size), lines(size)

        def call() -> None:
            segment.body.append(segment.header, [(next(numbers), given) for _ in range(group)])

        return call, 10

    return step


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
    runs = whole_object(size)
    for first, run in enumerate(runs):
        segment.body.append(segment.header, [(first * size + 1, run)])
    segment.body.seal(lines=len(runs) * size, size=sum(map(len, runs)))
    return lambda: sum(map(len, segment.body.read())), 1


def compress(_: Lab, size: int) -> Call:
    """Compress an object's lines, which came in collections of this size."""
    runs = whole_object(size)
    return lambda: pack(lambda: runs, compression="gzip", memory_bytes=1 << 30), 1


def put(lab: Lab, size: int) -> Call:
    """Put such an object into an S3 that keeps nothing."""
    settings = lab.settings()
    bucket = Bucket.connect(settings)
    runs = whole_object(size)
    body = pack(lambda: runs, compression="gzip", memory_bytes=1 << 30).body
    return lambda: bucket.put(settings.s3_bucket, "key", body, metadata={}, encoding="gzip"), 5
