"""How much of a file system lines may take, and zeros ahead of them. The rest makes room again.

Uploading, adopting and finishing need little, but they need it: a process's directory, seals, sums.
"""

import errno
import os
from pathlib import Path

from workers.spool.disk import IN_MEMORY, IN_PLACE, LOCAL, Disk

# The reserve: this share of the file system, within these bounds.
RESERVED_SHARE, LEAST_RESERVED_BYTES, MOST_RESERVED_BYTES = 1 / 256, 1 << 20, 1 << 26
RESERVED_FILES = 64
# Asking how much is left costs a hand-over of the interpreter. Between two questions each process
# may write this share of the reserve.
UNCHECKED_SHARE = 1 / 16
# What a new file takes beside its bytes: its last block, and its name's.
NEW_FILE_BYTES = 8192
# As many zeros as a file has bytes are written ahead of its end, at most so many.
AHEAD_BYTES = 1 << 18
# A larger group costs more by the zeros for it than its sync is cheaper.
SMALL_GROUP_BYTES = 1 << 16


class Room:
    """The room for lines that a process's directory has. For one writing thread."""

    def __init__(self, path: Path, *, disk: Disk) -> None:
        self._path = path
        self._disk = disk
        self._reserved = 0
        self._unchecked = 0
        self._in_place: bool | None = None

    def take(self, size: int, *, new_file: bool) -> None:
        """Take note of `size` bytes that are about to be written.

        Raises:
            OSError: there is no room for them.
        """
        self._unchecked += size + (NEW_FILE_BYTES if new_file else 0)
        if new_file or self._unchecked >= self._reserved * UNCHECKED_SHARE:
            if self.shortage(size, new_file=new_file):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._unchecked = 0

    def take_ahead(self, size: int, end: int) -> int:
        """Return how many zeros to write behind a group of `size` bytes that ends at `end`.

        What overwrites them later changes neither the file's size nor its blocks, so that a sync
        has to write no metadata (docs/performance.md). 0 where that gains nothing, or has no room.
        """
        if self._in_place is None:
            self._in_place = self._disk.kind(self._path) in IN_PLACE
        if size > SMALL_GROUP_BYTES or not self._in_place:
            return 0
        ahead = min(end, AHEAD_BYTES)
        try:
            self.take(ahead, new_file=False)
        except OSError:
            return 0
        return ahead

    def shortage(self, size: int = 0, *, new_file: bool = True) -> str | None:
        """Return why so many bytes, perhaps in a new file, must not be written now, or None."""
        if not self._reserved:
            share = int(self._disk.total_bytes(self._path) * RESERVED_SHARE)
            self._reserved = min(max(share, LEAST_RESERVED_BYTES), MOST_RESERVED_BYTES)
        if self._disk.free_bytes(self._path) < size + self._reserved:
            return "the disk is full"
        if new_file and self._disk.free_files(self._path) < RESERVED_FILES:
            return "the file system has no room for files"
        return None


def doubts(root: Path, *, disk: Disk, held: int, max_bytes: int) -> list[str]:
    """Say what speaks against a file system as the spool's, in sentences. Blocks on the disk.

    `held` bytes of the `max_bytes` that the spool may hold are in it already.
    """
    found = []
    kind = disk.kind(root)
    if kind in IN_MEMORY:
        found.append("it is in memory: what is in it is lost with the machine")
    elif kind not in LOCAL:
        found.append(
            f"its file system (type {kind:#x}) is not known to sync, or to report that it failed to"
        )
    free = disk.free_bytes(root)
    if free + held < max_bytes:
        found.append(f"{free} bytes are free, and SPOOL_MAX_BYTES lets it grow to {max_bytes}")
    return found
