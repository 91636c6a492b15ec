"""A disk whose syncs fail or wait and which fills up, and what a test looks at afterwards."""

import errno
import os
import queue
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.support.bench import Bench
from tests.support.doubles import DictBucket
from workers.segments.naming import DEAD_PREFIX
from workers.segments.segment import Receipt
from workers.spool import frames
from workers.spool.disk import Buffer, Disk
from workers.spool.segment_file import READY
from workers.upload.compression import unpack

MAX_WAIT_SECONDS = 20


class FaultyDisk(Disk):
    """A real disk whose syncs fail or wait on demand, and which fills up in mid-write."""

    def __init__(self) -> None:
        self.failing = False
        # How much of the next writes still fits, but for zeros at their end; None: all.
        self.room: int | None = None
        # While `slow`, a sync says so in `syncing` and then waits for its word.
        self.slow = False
        self.syncing: queue.SimpleQueue[threading.Event] = queue.SimpleQueue()

    def write_at(self, file: int, buffers: Sequence[Buffer], start: int) -> int:
        data = b"".join(buffers).rstrip(b"\0")
        if self.room is not None and len(data) > self.room:
            super().write_at(file, [data[: self.room]], start)
            self.room = 0
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write_at(file, buffers, start)

    def sync(self, file: int) -> None:
        if self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self.slow:
            word = threading.Event()
            self.syncing.put(word)
            assert word.wait(MAX_WAIT_SECONDS)
        super().sync(file)


def frames_of(path: Path) -> list[frames.Frame]:
    """Return the frames of a segment file in which nothing is damaged."""
    with path.open("rb") as file:
        found = list(frames.salvage(file, frames.seed(path.stem)))
    return [one for one in found if isinstance(one, frames.Frame)]


def flip(path: Path, *, before_end: int) -> bytes:
    """Flip a bit so many bytes before the end of a file's last frame; return what is in it then."""
    content = bytearray(path.read_bytes())
    content[frames_of(path)[-1].end - before_end] ^= 1
    path.write_bytes(content)
    return bytes(content)


def stored(bucket: DictBucket) -> dict[tuple[str, int], bytes]:
    """Return every line in the bucket by its object's key and its number there."""
    return {
        (key, number): line
        for key, (body, _, encoding) in bucket.objects.items()
        if not key.startswith(DEAD_PREFIX)
        for number, line in enumerate(unpack(body, compression=encoding).splitlines(), 1)
    }


def quarantined(bench: Bench) -> list[Path]:
    """Return the segment files that were kept aside."""
    return list((bench.spool.root / "quarantine").glob("*" + READY))


def where(receipts: list[Receipt]) -> list[tuple[str, int]]:
    """Return the places that receipts promise."""
    return [
        (receipt.header.key, receipt.first_line + n)
        for receipt in receipts
        for n in range(receipt.count)
    ]
