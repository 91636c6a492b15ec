"""What the pipeline is asked for, and what a test waits for."""

import contextlib
import threading
from collections.abc import Callable, Iterator

from tests.support import wait_until
from tests.support.s3 import FakeS3, Fault
from workers.pipeline import Pipeline
from workers.segments.segment import Receipt
from workers.spool.counters import Field

# Far more than anything here takes; what waits in vain fails after so long.
SECONDS = 20
QUICK: dict[str, object] = {"OBJECT_MAX_AGE_SECONDS": 0.02, "DRAIN_SECONDS": 5, "MAX_WORKERS": 3}
HANG = Fault(kind="hang")
OVERLOADED = Fault(kind="error", status=503, code="SlowDown")
TOO_LARGE = Fault(kind="error", status=400, code="EntityTooLarge")
Start = Callable[..., Pipeline]
Leave = Callable[[int], list[Receipt]]


def accept(pipeline: Pipeline, *payloads: bytes, stream: str = "s") -> list[Receipt]:
    """Accept payloads as one collection."""
    lines = b"".join(payload + b"\n" for payload in payloads)
    return pipeline.take(stream, lines, count=len(payloads)).result()


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what other threads do."""
    wait_until(condition, timeout=50, what=what)


def until_stored(pipeline: Pipeline, count: int) -> None:
    """Wait until so many payloads are stored."""
    until(lambda: pipeline.totals()[Field.STORED] >= count, f"{count} stored payloads")


@contextlib.contextmanager
def hang(s3: FakeS3) -> Iterator[None]:
    """Make PUTs hang, and wait at the end of the block until one does."""
    before = s3.counts().faults.get("hang", 0)
    s3.faults(Fault(kind="hang"))
    yield
    s3.wait_until(lambda counts: counts.faults.get("hang", 0) > before, what="a PUT that hangs")


def stored(s3: FakeS3) -> list[bytes]:
    """Return every line in the bucket, sorted."""
    return sorted(line for _, _, line in s3.lines())


def ours() -> set[str]:
    """Return the names of the threads there are beside pytest's, and a package's page server's."""
    return {thread.name for thread in threading.enumerate()} - {"MainThread", "pages"}
