"""Counters in a mapped file, so that they outlive a kill; accepted = stored + pending + dead.

Each process start has one `Counters` in its own directory. The process that holds that directory's
lock writes it; any process may read it. Pending is derived, not counted, so the sum always
balances; `stored` and `dead` change together with the removal of the file they are about.
"""

import mmap
import os
import threading
from collections.abc import Iterable, Sequence
from enum import IntEnum, auto
from pathlib import Path

from workers.spool.disk import FILE_MODE, set_mode

PUT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Field(IntEnum):
    """The fields of a counters file, 64-bit integers. Their order is its format: append only."""

    ACCEPTED = 0
    STORED = auto()
    DEAD = auto()
    # The redo note of `Counters.finish`: a segment's number, then the counts once it is finished.
    FINISHING = auto()
    FINISHED_STORED = auto()
    FINISHED_DEAD = auto()
    # Gauges.
    DURABLE = auto()
    QUEUE_DEPTH = auto()
    IDLE_WORKERS = auto()
    OLDEST_MICROSECONDS = auto()
    HELD_BYTES = auto()
    # Counters.
    ACCEPTED_BYTES = auto()
    STORED_OBJECTS = auto()
    STORED_BYTES = auto()
    CONFLICTS = auto()
    COMMITS = auto()
    COMMITTED_COLLECTIONS = auto()
    REQUESTS_202 = auto()
    REQUESTS_400 = auto()
    REQUESTS_404 = auto()
    REQUESTS_405 = auto()
    REQUESTS_408 = auto()
    REQUESTS_413 = auto()
    REQUESTS_415 = auto()
    REQUESTS_422 = auto()
    REQUESTS_500 = auto()
    REQUESTS_503 = auto()
    PUT_FAILURES_THROTTLED = auto()
    PUT_FAILURES_DENIED = auto()
    PUT_FAILURES_BUCKET = auto()
    PUT_FAILURES_SERVER = auto()
    PUT_FAILURES_NETWORK = auto()
    PUT_FAILURES_OTHER = auto()
    PUT_MICROSECONDS = auto()
    PUT_BUCKETS = auto()  # the first of len(PUT_SECONDS) + 1 cells
    PARKED_THROTTLED = 46  # gauges, behind those cells
    PARKED_DENIED = auto()
    PARKED_BUCKET = auto()
    PARKED_SERVER = auto()
    PARKED_NETWORK = auto()
    PARKED_OTHER = auto()
    PARKED_DISK = auto()
    # Counters again.
    LOG_LINES_DROPPED = auto()
    REQUESTS_401 = auto()
    REQUESTS_403 = auto()
    REQUESTS_429 = auto()
    EARLY_SEALS = auto()
    WATERMARK_MICROSECONDS = auto()  # a gauge: all that was created before is stored or dead
    # Counters again.
    REQUESTS_201 = auto()
    REQUESTS_409 = auto()
    KEYS_REPLAYED = auto()
    KEYS_DROPPED_EARLY = auto()
    # Marks: payloads with idempotency keys are being written, and not in the key log yet.
    UNLOGGED_KEYS = auto()
    SYNC_FAILED = auto()  # of an open file: what is on the disk of it is not known


_ACCEPTED, _ACCEPTED_BYTES = Field.ACCEPTED, Field.ACCEPTED_BYTES
COUNTERS_BYTES = 4096
CELLS = COUNTERS_BYTES // 8
# The last cells are not counters: what they hold is not added up. Older versions leave them zero.
_BOOT, _FORMAT = slice(CELLS - 3, CELLS - 1), CELLS - 1
_WORD = (1 << 63) - 1


class UnknownCounters(Exception):
    """A counters file of a format that this version does not know."""


class Counters:
    """One process start's counters. Every method is quick and thread-safe; none waits."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._cells = memoryview(memory).cast("q")
        self._lock = threading.Lock()

    @classmethod
    def create(cls, path: Path) -> "Counters":
        """Make a counters file of zeroes and map it. Blocks on the disk."""
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            set_mode(file, FILE_MODE)
            os.pwrite(file, bytes(COUNTERS_BYTES), 0)
            os.fsync(file)
        finally:
            os.close(file)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "Counters":
        """Map a counters file. One that a power cut shortened or took is filled up with zeroes.

        Raises:
            UnknownCounters: another version wrote it; it is left as it is.
        """
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            size = os.fstat(file).st_size
            _check_format(path, _read(file), size=size)
            if size < COUNTERS_BYTES:
                # Written, not cut to length: a store into a hole on a full disk is a SIGBUS.
                os.pwrite(file, bytes(COUNTERS_BYTES - size), size)
            return cls(mmap.mmap(file, COUNTERS_BYTES))
        finally:
            os.close(file)

    @staticmethod
    def read(path: Path) -> list[int]:
        """Return a snapshot of a counters file, which is not changed. Blocks on the disk.

        Raises:
            UnknownCounters: another version wrote it.
            OSError: it cannot be read.
        """
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(file).st_size
            content = _read(file)
            _check_format(path, content, size=size)
            if size < COUNTERS_BYTES:
                return _without_marks(list(memoryview(content).cast("q")))
            memory = mmap.mmap(file, COUNTERS_BYTES, prot=mmap.PROT_READ)
        finally:
            os.close(file)
        counters = Counters(memory)
        try:
            return counters.snapshot()
        finally:
            counters.close()

    @classmethod
    def anonymous(cls) -> "Counters":
        """Make counters in memory, for a process that has no file for them yet."""
        return cls(mmap.mmap(-1, COUNTERS_BYTES))

    def move_into(self, other: "Counters") -> None:
        """Add what was counted so far to another's file, and count there from now on."""
        with self._lock:
            for field, value in enumerate(self._cells):
                other._cells[field] += value  # noqa: SLF001
            self._cells, self._memory = other._cells, other._memory  # noqa: SLF001

    def close(self) -> None:
        """Give the mapping back; the file stays."""
        with self._lock:
            self._cells.release()
            self._memory.close()

    def __getitem__(self, field: Field) -> int:
        return self._cells[field]

    def __setitem__(self, field: Field, value: int) -> None:
        self._cells[field] = value

    def flush(self) -> None:
        """Make the present values survive a power cut. Blocks on the disk."""
        self._memory.flush()

    @property
    def boot(self) -> int:
        """The boot of the machine that these counters are exact in (`Disk.boot_id`); 0: unknown.

        Within it the kernel keeps what was written, even if a process is killed. After another one
        a power cut may have taken the counters, and the ends of files, back.
        """
        low, high = self._cells[_BOOT]
        return high << 63 | low

    @boot.setter
    def boot(self, boot: int) -> None:
        self._cells[_BOOT.start], self._cells[_BOOT.start + 1] = boot & _WORD, boot >> 63

    def snapshot(self) -> list[int]:
        """Copy all counters. Accepted is read last, so that it never lags what became of it."""
        cells = list(self._cells)
        cells[Field.ACCEPTED] = self._cells[Field.ACCEPTED]
        return _without_marks(cells)

    def add(self, field: Field, amount: int = 1) -> None:
        """Add to one counter."""
        with self._lock:
            self._cells[field] += amount

    @property
    def pending(self) -> int:
        """Payloads accepted, neither stored nor dead."""
        return self[Field.ACCEPTED] - self[Field.STORED] - self[Field.DEAD]

    def accept(self, *, payloads: int, size: int) -> None:
        """Count payloads as accepted."""
        with self._lock:
            self._cells[_ACCEPTED] += payloads
            self._cells[_ACCEPTED_BYTES] += size

    def observe_put(self, seconds: float) -> None:
        """Count one PUT that S3 answered, in the histogram of its duration."""
        slot = next((i for i, le in enumerate(PUT_SECONDS) if seconds <= le), len(PUT_SECONDS))
        with self._lock:
            self._cells[Field.PUT_BUCKETS + slot] += 1
            self._cells[Field.PUT_MICROSECONDS] += int(seconds * 1e6)

    def begin_finish(self, number: int, *, stored: int, dead: int) -> None:
        """Note what the counts will be once segment `number` is gone from the disk.

        With `end_finish` it brackets the removal of the segment's file. A process killed between
        the two leaves the note, and `redo` can tell from the file whether to apply it; done twice
        it changes nothing.
        """
        with self._lock:
            self._cells[Field.FINISHED_STORED] = self._cells[Field.STORED] + stored
            self._cells[Field.FINISHED_DEAD] = self._cells[Field.DEAD] + dead
            self._cells[Field.FINISHING] = number

    def end_finish(self) -> None:
        """Apply the note of `begin_finish` and clear it."""
        with self._lock:
            self._cells[Field.STORED] = self._cells[Field.FINISHED_STORED]
            self._cells[Field.DEAD] = self._cells[Field.FINISHED_DEAD]
            self._cells[Field.FINISHING] = 0

    def redo(self, *, still_there: frozenset[int]) -> None:
        """After a kill: apply a note whose segment is gone, drop one whose segment is there."""
        number = self[Field.FINISHING]
        if number and number not in still_there:
            self.end_finish()
        self[Field.FINISHING] = 0


def segment_number(name: str) -> int:
    """Return the positive 63-bit number that stands for a segment in the counters."""
    return int(name[-16:], 16) >> 1 or 1


def _read(file: int) -> bytes:
    return os.pread(file, COUNTERS_BYTES, 0).ljust(COUNTERS_BYTES, b"\0")


def _check_format(path: Path, content: bytes, *, size: int) -> None:
    if size > COUNTERS_BYTES or memoryview(content).cast("q")[_FORMAT]:
        raise UnknownCounters(f"{path}: counters of an unknown format ({size} bytes)")


def _without_marks(cells: list[int]) -> list[int]:
    cells[_BOOT.start :] = [0] * (CELLS - _BOOT.start)
    return cells


class Totals:
    """The service's sums at one moment: the snapshots of its counters added up.

    `unreadable` is how many entries of the spool could not be read, and are not in the sums.
    """

    def __init__(self, snapshots: Iterable[Sequence[int]], *, unreadable: int = 0) -> None:
        self.unreadable = unreadable
        columns: list[tuple[int, ...]] = list(zip(*snapshots, strict=True)) or [()] * CELLS
        self.cells = [sum(column) for column in columns]
        oldest = (moment for moment in columns[Field.OLDEST_MICROSECONDS] if moment)
        self.oldest_microseconds = min(oldest, default=0)

    def __getitem__(self, field: Field) -> int:
        return int(self.cells[field])

    @property
    def put_buckets(self) -> list[int]:
        """How many PUTs took at most `PUT_SECONDS[i]`, not cumulated; the last: longer."""
        return self.cells[Field.PUT_BUCKETS : Field.PUT_BUCKETS + len(PUT_SECONDS) + 1]

    @property
    def pending(self) -> int:
        """Payloads accepted, neither stored nor dead."""
        return self[Field.ACCEPTED] - self[Field.STORED] - self[Field.DEAD]
