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
from workers.spool.disk import Disk
from workers.spool.segment_file import READY
from workers.upload.compression import unpack

MAX_WAIT_SECONDS = 20


class FaultyDisk(Disk):
    """A real disk whose syncs fail or wait on demand, and which fills up in mid-write."""

    def __init__(self) -> None:
        self.failing = False
        # How much of the next appends still fits; None: all.
        self.room: int | None = None
        # While `slow`, a sync says so in `syncing` and then waits for its word.
        self.slow = False
        self.syncing: queue.SimpleQueue[threading.Event] = queue.SimpleQueue()

    def append(self, file: int, buffers: Sequence[bytes]) -> int:
        data = b"".join(buffers)
        if self.room is not None and len(data) > self.room:
            super().append(file, [data[: self.room]])
            self.room = 0
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().append(file, buffers)

    def sync(self, file: int) -> None:
        if self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self.slow:
            word = threading.Event()
            self.syncing.put(word)
            assert word.wait(MAX_WAIT_SECONDS)
        super().sync(file)


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
