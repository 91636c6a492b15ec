"""How much each access key is used, shared by the processes of a spool through small files.

A process writes the file in its own spool directory, and maps those of the others to read them:
`KEYS` rows of a key's name (64 bytes, UTF-8, zero-padded) and `CELLS` 64-bit counters. Counters
only rise, so a reader needs no lock. Knows no HTTP.
"""

import errno
import logging
import mmap
import os
import threading
from collections.abc import Iterable
from enum import IntEnum, auto
from pathlib import Path

log = logging.getLogger(__name__)

# More keys than an access file may have: a name keeps its row when the file changes.
KEYS, NAME_BYTES, CELLS = 2048, 64, 16
ROW_BYTES = NAME_BYTES + 8 * CELLS
FILE_BYTES = KEYS * ROW_BYTES
FILE_NAME = "keys"


class Use(IntEnum):
    """The counters of a key. Their order is the file's format: append only, `CELLS` at most."""

    REQUESTS = 0
    BYTES = auto()
    REFUSED_400 = auto()
    REFUSED_403 = auto()
    REFUSED_404 = auto()
    REFUSED_408 = auto()
    REFUSED_413 = auto()
    REFUSED_415 = auto()
    REFUSED_422 = auto()
    REFUSED_429 = auto()
    REFUSED_503 = auto()
    REFUSED_409 = auto()


class KeyUsage:
    """One process's counters. Thread-safe; what takes a path blocks on the disk."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._cells = memoryview(memory).cast("q")
        self._lock = threading.Lock()
        self._rows: dict[str, int] = {}
        self._full = False

    @classmethod
    def anonymous(cls) -> "KeyUsage":
        """Make counters in memory, which no other process sees."""
        return cls(mmap.mmap(-1, FILE_BYTES))

    @classmethod
    def create(cls, path: Path) -> "KeyUsage":
        """Make a file of zeroes and map it.

        Raises:
            OSError: the disk does not take it.
        """
        return cls(_map_new(path))

    def move_into(self, path: Path) -> dict[str, list[int]]:
        """Count in a new file from now on, from zero, and return what was counted before.

        Raises:
            OSError: the disk does not take it; nothing has changed.
        """
        memory = _map_new(path)
        with self._lock:
            before = self._counted()
            # The mapping before goes with its last reader.
            self._memory, self._cells = memory, memoryview(memory).cast("q")
            self._rows = {}
        return before

    @classmethod
    def open(cls, path: Path) -> "KeyUsage | None":
        """Map another process's file to read it; None where there is no whole one."""
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if os.fstat(file).st_size != FILE_BYTES:
                return None
            return cls(mmap.mmap(file, FILE_BYTES, access=mmap.ACCESS_READ))
        finally:
            os.close(file)

    def add(self, name: str, use: Use, amount: int = 1) -> None:
        """Count something of a key; beyond `KEYS` names it is not counted."""
        with self._lock:
            row = self._rows.get(name) or self._allocate(name)
            if row is not None:
                self._cells[row + use] += amount

    def add_request(self, name: str, size: int) -> None:
        """Count a request of a key with the bytes of its body, in one step."""
        with self._lock:
            row = self._rows.get(name) or self._allocate(name)
            if row is not None:
                # `Use.REQUESTS` and `Use.BYTES`, without looking the two up.
                self._cells[row] += 1
                self._cells[row + 1] += size

    def get(self, name: str, use: Use) -> int:
        """Return a counter of a key, 0 where the key is not known."""
        row = self._rows.get(name)
        return 0 if row is None else self._cells[row + use]

    def read_names(self) -> None:
        """Look for rows that the file's owner has added."""
        for number in range(len(self._rows), KEYS):
            start = number * ROW_BYTES
            name = bytes(self._memory[start : start + NAME_BYTES]).rstrip(b"\0")
            if not name:
                return
            # A file that a power cut damaged may hold anything.
            self._rows[name.decode(errors="replace")] = (start + NAME_BYTES) // 8

    def totals(self) -> dict[str, list[int]]:
        """Return every key's counters."""
        self.read_names()
        return self._counted()

    def close(self) -> None:
        """Give the mapping back; the file stays."""
        with self._lock:
            self._cells.release()
            self._memory.close()

    def _counted(self) -> dict[str, list[int]]:
        cells = self._cells
        return {name: list(cells[row : row + len(Use)]) for name, row in list(self._rows.items())}

    def _allocate(self, name: str) -> int | None:
        number = len(self._rows)
        if number == KEYS:
            if not self._full:
                log.warning("too many names of keys to count", extra={"most": KEYS})
            self._full = True
            return None
        start = number * ROW_BYTES
        self._memory[start : start + NAME_BYTES] = name.encode()[:NAME_BYTES].ljust(
            NAME_BYTES, b"\0"
        )
        row = self._rows[name] = (start + NAME_BYTES) // 8
        return row


def _map_new(path: Path) -> mmap.mmap:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        # Written, not cut to length: a store into a hole on a full disk is a SIGBUS.
        if os.pwrite(file, bytes(FILE_BYTES), 0) < FILE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return mmap.mmap(file, FILE_BYTES)
    finally:
        os.close(file)


class SharedUsage:
    """This process's use of keys beside that of the other processes of its spool."""

    def __init__(self, own: KeyUsage) -> None:
        self.own = own
        self._others: dict[Path, KeyUsage] = {}

    def others(self, name: str, use: Use) -> int:
        """Return what the other processes have counted of a key. Quick: no file is touched."""
        return sum([other.get(name, use) for other in list(self._others.values())])

    def look(self, paths: Iterable[Path]) -> None:
        """Map the files of processes that are new; forget those that are gone. Blocks on the disk.

        `paths` are the other processes' files. One caller at a time.
        """
        wanted = set(paths)
        for gone in self._others.keys() - wanted:
            # Not closed: a request may be reading it; the mapping goes with the last reference.
            del self._others[gone]
        for path in wanted - self._others.keys():
            found = KeyUsage.open(path)
            if found is not None:
                self._others[path] = found
        for other in self._others.values():
            other.read_names()
