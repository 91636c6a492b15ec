"""What the steps are called with: parts of the service, and what clients send."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.ingest.formats.decoding import decode
from app.ingest.handler import IngestHandler
from benchmarks.load.bodies import make_bodies
from workers.pipeline import Pipeline
from workers.segments.naming import segment_name
from workers.segments.segment import Header, Segment
from workers.settings.settings import load_settings
from workers.spool.disk import Disk
from workers.spool.segment_file import OPEN, SegmentFile
from workers.upload.s3 import Bucket

# What is timed: a call, and how many times it is called between two readings of the clock.
Call = tuple[Callable[[], object], int]

CONTENT_TYPE = "application/json"
MEMORY_BYTES = 1 << 30
# As much as compresses to about the default OBJECT_TARGET_BYTES.
OBJECT_PAYLOADS = 50_000


@dataclass(frozen=True, slots=True)
class Lab:
    """What steps are called with: settings, a directory on the disk, an S3 that keeps nothing."""

    directory: Path
    environ: dict[str, str]

    def settings(self, **more: str) -> Any:
        """Make the service's settings; the spool is in the lab's directory."""
        given = {"SPOOL_DIR": str(self.directory), "MEMORY_MAX_BYTES": str(MEMORY_BYTES)}
        return load_settings({**self.environ, **given, **more})

    def pipeline(self, **more: str) -> Any:
        """Make a pipeline in memory mode that is not started: nothing leaves it."""
        settings = self.settings(DURABILITY="memory", **more)
        return Pipeline(settings, bucket=Bucket.connect(settings))

    def handler(self, pipeline: Any) -> Any:
        """Make what takes the requests of a pipeline."""
        return IngestHandler(pipeline.settings, pipeline=lambda: pipeline)

    def segment(self, number: int) -> Any:
        """Make a segment with a file that is not there yet."""
        name = segment_name(number)
        header = Header(name=name, stream="s", bucket="b", key="k", compression="gzip")
        return Segment(header, SegmentFile(self.directory / f"{name}{OPEN}", disk=Disk()))


# What makes a call, for so many payloads in a request.
Step = Callable[[Lab, int], Call]


def bodies(size: int) -> Callable[[], bytes]:
    """Return a source of request bodies, in turn."""
    return itertools.cycle([body.encode() for body in make_bodies(size)]).__next__


def collections(size: int) -> list[bytes]:
    """Return every collection that is sent, as the decoder hands it on."""
    sent = make_bodies(size)
    return [decode(body.encode(), content_type=CONTENT_TYPE).lines for body in sent]


def lines(size: int) -> bytes:
    """Return one collection as the decoder hands it on."""
    return collections(size)[0]


def whole_object(size: int) -> list[bytes]:
    """Return the lines of an object, in collections of a size."""
    runs = itertools.cycle(collections(size))
    return list(itertools.islice(runs, OBJECT_PAYLOADS // size))
