"""A file system in memory that keeps what is durable apart from what is only in its cache.

The idea is that of SQLite's test6.c: a power cut leaves of everything that was not synced whatever
a disk may leave. Knows the interface of `workers.spool.disk.Disk`, nothing of what is on it.

What it grants, as any disk in use does: a sector that is written again with some of its bytes
unchanged keeps those, and a name is moved in one step.
"""

import errno
import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import BinaryIO

from workers.spool.disk import Disk

SECTOR = 512
# How much of what no longer belongs to any file is kept, to turn up in new ones.
MAX_LITTER = 64


class Died(BaseException):
    """The process ends here. No `except Exception` of its own may know."""


class Fuse:
    """Ends a process in the midst of things: burns a step at a time, and at its end raises."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self) -> None:
        """Take one step.

        Raises:
            Died: it was the last.
        """
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                self.left = None
                raise Died


class _File:
    """A file's content: every state since the last sync, that one first, the present one last."""

    __slots__ = ("lies", "states")

    def __init__(self) -> None:
        self.states = [b""]
        # A sync has failed: the pages are marked clean, so that later ones succeed for nothing
        # (https://wiki.postgresql.org/wiki/Fsync_Errors).
        self.lies = False

    @property
    def content(self) -> bytes:
        return self.states[-1]

    def write(self, content: bytes) -> None:
        self.states.append(content)

    def sync(self) -> None:
        if not self.lies:
            self.states = [self.content]


class _Directory:
    """A directory's names now, those at the last sync, and each change between the two."""

    __slots__ = ("changes", "names", "synced")

    def __init__(self) -> None:
        self.names: _Names = {}
        self.synced: _Names = {}
        self.changes: list[_Change] = []

    def change(self, change: "_Change") -> None:
        change(self.names)
        self.changes.append(change)

    def sync(self) -> None:
        self.synced = dict(self.names)
        self.changes = []


_Node = _File | _Directory
_Names = dict[str, _Node]
_Change = Callable[[_Names], None]


def _add(name: str, node: _Node) -> _Change:
    def change(names: _Names) -> None:
        names[name] = node

    return change


def _remove(name: str) -> _Change:
    def change(names: _Names) -> None:
        names.pop(name, None)

    return change


def _move(old: str, new: str) -> _Change:
    def change(names: _Names) -> None:
        # The file of that name may itself be among what the cut took.
        if old in names:
            names[new] = names.pop(old)

    return change


class SimDisk(Disk):
    """A disk of one directory tree below `root`. Faults are attributes, to be set at any time.

    `room` is how many bytes still fit (None: enough); `failing` makes every sync end in EIO.
    """

    def __init__(self, root: Path, *, rng: Random, fuse: Fuse) -> None:
        self.root = root
        self.room: int | None = None
        self.failing = False
        self._rng = rng
        self._fuse = fuse
        self._top = _Directory()
        self._skip = len(str(root)) + 1
        self._files: dict[int, _File] = {}
        self._open_directories: dict[int, _Directory] = {}
        self._last_file = 2
        self._litter: list[bytes] = []

    # --- What `Disk` does -------------------------------------------------------------------------

    def create(self, path: Path) -> int:
        self._fuse.burn()
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        directory, name = self._place(path)
        if name in directory.names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        directory.change(_add(name, _File()))
        self._fuse.burn()
        return self._open_file(path)

    def reopen(self, path: Path) -> int:
        return self._open_file(path)

    def free_bytes(self, path: Path) -> int:
        del path
        # Somebody else may take the room between this answer and what is done with it.
        return 1 << 40 if self.room is None or self._rng.random() < 0.9 else self.room

    def append(self, file: int, buffers: Sequence[bytes]) -> int:
        self._fuse.burn()
        node, data = self._files[file], b"".join(buffers)
        fits = len(data) if self.room is None else min(len(data), self.room)
        before = node.content
        # A short write and the one that goes on from there: a process may die between the two.
        node.write(before + data[: self._rng.randint(0, fits)])
        self._fuse.burn()
        node.write(before + data[:fits])
        if self.room is not None:
            self.room -= fits
        if fits < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._fuse.burn()
        return fits

    def sync(self, file: int) -> None:
        self._fuse.burn()
        node = self._files[file]
        if self.failing:
            node.lies = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        node.sync()
        self._fuse.burn()

    def sync_everything(self, file: int) -> None:
        del file
        self._fuse.burn()
        files = list(_files_of(self._top))
        if self.failing:
            for node in files:
                node.lies = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        for each in _directories_of(self._top):
            each.sync()
        for node in files:
            node.sync()
        self._fuse.burn()

    def truncate(self, file: int, length: int) -> None:
        self._fuse.burn()
        node = self._files[file]
        node.write(node.content[:length])
        self._fuse.burn()

    def close(self, file: int) -> None:
        if self._open_directories.pop(file, None) is None:
            del self._files[file]

    def sync_directory(self, path: Path) -> None:
        self._fuse.burn()
        self._directory(path).sync()
        self._fuse.burn()

    def open_directory(self, path: Path) -> int:
        self._fuse.burn()
        self._last_file += 1
        self._open_directories[self._last_file] = self._directory(path)
        return self._last_file

    def sync_names(self, directory: int) -> None:
        self._fuse.burn()
        self._open_directories[directory].sync()
        self._fuse.burn()

    def rename(self, old: Path, new: Path) -> None:
        self._fuse.burn()
        directory, name = self._place(old)
        if name not in directory.names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(old))
        directory.change(_move(name, new.name))
        self._fuse.burn()

    def unlink(self, path: Path) -> None:
        self._fuse.burn()
        directory, name = self._place(path)
        node = directory.names.get(name)
        if isinstance(node, _File):
            self._litter = [*self._litter, node.content][-MAX_LITTER:]
            directory.change(_remove(name))
        self._fuse.burn()

    def open(self, path: Path) -> BinaryIO:
        return io.BytesIO(self._find(path).content)

    def size(self, path: Path) -> int:
        return len(self._find(path).content)

    def names(self, path: Path) -> list[str]:
        try:
            return sorted(self._directory(path).names)
        except FileNotFoundError:
            return []

    # --- What a test does -------------------------------------------------------------------------

    def make_directory(self, path: Path) -> None:
        """Make a directory; like any name it is there for good once its parent is synced."""
        directory, name = self._place(path)
        directory.change(_add(name, _Directory()))

    def remove_directory(self, path: Path) -> None:
        """Remove a directory and what is in it."""
        directory, name = self._place(path)
        directory.change(_remove(name))

    def kill(self) -> None:
        """End every process: their descriptors go, the cache stays."""
        self._files, self._open_directories = {}, {}

    def power_cut(self) -> None:
        """Cut the power: what was synced is left, and of the rest whatever chance leaves."""
        self.kill()
        self.room, self.failing = None, False
        self._cut_directory(self._top)

    def damage(self, path: Path, *, at: int) -> None:
        """Let a bit rot: flip one in the byte at `at`, in the cache and on the medium."""
        node = self._find(path)
        content = bytearray(node.content)
        content[at] ^= 1 << self._rng.randrange(8)
        node.states = [bytes(content)]

    # --- Inside -----------------------------------------------------------------------------------

    def _place(self, path: Path) -> tuple[_Directory, str]:
        return self._directory(path.parent), path.name

    def _directory(self, path: Path) -> _Directory:
        node: _Node | None = self._top
        for name in str(path)[self._skip :].split("/"):
            if name and isinstance(node, _Directory):
                node = node.names.get(name)
        if not isinstance(node, _Directory):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return node

    def _find(self, path: Path) -> _File:
        directory, name = self._place(path)
        node = directory.names.get(name)
        if not isinstance(node, _File):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return node

    def _open_file(self, path: Path) -> int:
        self._last_file += 1
        self._files[self._last_file] = self._find(path)
        return self._last_file

    def _cut_directory(self, directory: _Directory) -> None:
        names = dict(directory.synced)
        # All of it may have been written back, or none, or any part: a journal of metadata keeps
        # the order, POSIX promises none.
        kept = self._rng.choice((0.0, 0.5, 1.0))
        for change in directory.changes:
            if self._rng.random() < kept:
                change(names)
        directory.names = names
        directory.sync()
        for node in names.values():
            if isinstance(node, _Directory):
                self._cut_directory(node)
            else:
                node.states, node.lies = [self._cut_file(node.states)], False

    def _cut_file(self, states: list[bytes]) -> bytes:
        synced, last = states[0], states[-1]
        kind = self._rng.random()
        if len(states) == 1 or kind < 0.1:
            return synced
        if kind < 0.2:
            return last
        low, *lengths, high = sorted(map(len, states))
        length = self._rng.choice((low, *lengths, high, high, self._rng.randint(low, high)))
        # What no write since the sync has touched is safe.
        sure = _common_start(states)
        start = len(sure) - len(sure) % SECTOR
        # Freshly allocated blocks may still hold what a file that is gone had there.
        litter = self._rng.choice(self._litter) if self._litter and kind < 0.5 else b""
        sectors = [self._sector(states, at, litter=litter) for at in range(start, length, SECTOR)]
        return sure + b"".join(sectors)[len(sure) - start : length - start]

    def _sector(self, states: list[bytes], at: int, *, litter: bytes) -> bytes:
        """Return what is in one sector after the cut: some state of it, a mix, zeroes, litter."""
        rng = self._rng
        one, other = (rng.choice(states)[at : at + SECTOR].ljust(SECTOR, b"\0") for _ in range(2))
        kind = rng.random()
        if litter and kind < 0.8:
            return litter[at : at + SECTOR].ljust(SECTOR, b"\0")
        if kind < 0.6:
            return one
        if kind < 0.8:
            torn = rng.randrange(SECTOR)
            return one[:torn] + other[torn:]
        return bytes(SECTOR)


def _directories_of(directory: _Directory) -> Iterator[_Directory]:
    yield directory
    for node in directory.names.values():
        if isinstance(node, _Directory):
            yield from _directories_of(node)


def _files_of(directory: _Directory) -> Iterator[_File]:
    for each in _directories_of(directory):
        yield from (node for node in each.names.values() if isinstance(node, _File))


def _common_start(states: list[bytes]) -> bytes:
    low, high = min(states), max(states)
    if high.startswith(low):
        return low
    differing = (at for at, byte in enumerate(low) if byte != high[at])
    return low[: next(differing)]
