"""What the processes of a machine share beside the key logs: claims, signs of life, two marks.

    SPOOL_DIR/keys/shared    4096 bytes, mapped: the marks `appended` and `listed` (u64 each)

Claims are locks on single bytes of that file, far behind its end, which the kernel frees when their
process ends (fcntl(2), "Open file description locks"). Nothing in the file outlives a restart.
"""

import fcntl
import mmap
import os
import random
import struct
from pathlib import Path
from typing import Protocol

from workers.spool.disk import FILE_MODE, set_mode
from workers.spool.documents import make_directory

SHARED = "shared"
SHARED_BYTES = 4096
APPENDED, LISTED = range(2)
# struct flock of Linux: type, whence, start, length, pid.
_FLOCK = struct.Struct("hhqqi4x")
_PLACE = struct.Struct("<Q")
_MARKS = struct.Struct("QQ")
# Looked up once, for the claims of a group come one after the other.
_fcntl, _pack = fcntl.fcntl, _FLOCK.pack
_SET, _LOCK, _UNLOCK = fcntl.F_OFD_SETLK, fcntl.F_WRLCK, fcntl.F_UNLCK
# Claims lie below, signs of life from here on.
_LIVES = 1 << 62


class Shared(Protocol):
    """Claims, signs of life and marks. Nothing waits."""

    def lock(self, place: int) -> bool:
        """Lock a place for this process. False where another has it."""

    def unlock(self, place: int) -> None:
        """Unlock a place that this process has locked."""

    def unlock_claims(self) -> None:
        """Unlock all claims that this process has locked, in one step."""

    def is_locked(self, place: int) -> bool:
        """Whether another process has locked a place."""

    @property
    def marks(self) -> tuple[int, int]:
        """Two numbers, at `APPENDED` and `LISTED`.

        The first differs after each append to any key log, the other once there is one more key
        log, or process that uses keys.
        """

    def mark_appended(self) -> None:
        """Change the mark of appends."""

    def mark_listed(self) -> None:
        """Change the other mark."""


class SharedFile:
    """`Shared` in a file of the spool."""

    def __init__(self, directory: Path) -> None:
        """Open the file; it and its directory are made if need be. Blocks on the disk.

        Raises:
            OSError: they cannot be made.
        """
        make_directory(directory)
        path = directory / SHARED
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            set_mode(self._file, FILE_MODE)
            size = os.fstat(self._file).st_size
            if size < SHARED_BYTES:
                # Written, not cut to length: a store into a hole on a full disk is a SIGBUS.
                os.pwrite(self._file, bytes(SHARED_BYTES - size), size)
            self._memory = mmap.mmap(self._file, SHARED_BYTES)
        except OSError:
            os.close(self._file)
            raise
        self._cells = memoryview(self._memory).cast("Q")
        # No two processes, and no two marks of one, have the same number.
        self._next = random.SystemRandom().getrandbits(63)

    def lock(self, place: int) -> bool:
        """Lock a place. False where another process has it, or the kernel has no room."""
        try:
            _fcntl(self._file, _SET, _pack(_LOCK, 0, place, 1, 0))
        except OSError:
            return False
        return True

    def unlock(self, place: int) -> None:
        """Unlock a place."""
        fcntl.fcntl(self._file, _SET, _FLOCK.pack(_UNLOCK, 0, place, 1, 0))

    def unlock_claims(self) -> None:
        """Unlock all claims of this process."""
        fcntl.fcntl(self._file, _SET, _FLOCK.pack(_UNLOCK, 0, 0, _LIVES, 0))

    def is_locked(self, place: int) -> bool:
        """Whether another process has locked a place."""
        asked = _FLOCK.pack(_LOCK, 0, place, 1, 0)
        found = fcntl.fcntl(self._file, fcntl.F_OFD_GETLK, asked)
        return bool(_FLOCK.unpack(found)[0] != _UNLOCK)

    @property
    def marks(self) -> tuple[int, int]:
        """See `Shared`."""
        appended, listed = _MARKS.unpack_from(self._memory)
        return appended, listed

    def mark_appended(self) -> None:
        """See `Shared`."""
        self._cells[APPENDED] = self._mark()

    def mark_listed(self) -> None:
        """See `Shared`."""
        self._cells[LISTED] = self._mark()

    def close(self) -> None:
        """Give everything up, every lock too."""
        self._cells.release()
        self._memory.close()
        os.close(self._file)

    def _mark(self) -> int:
        self._next += 1
        return self._next


def claim_place(digest: bytes) -> int:
    """Return where the claim of a key is locked."""
    return int(_PLACE.unpack_from(digest)[0]) >> 2


def life_place(home: str) -> int:
    """Return what a process locks for as long as it lives, by its directory's name."""
    return _LIVES | int(home[:15], 16)
