"""A file system in memory that keeps what is durable apart from what is only in its cache.

The idea is that of SQLite's test6.c: a power cut leaves of everything that was not synced any state
that a disk may leave. Knows the interface of `workers.spool.disk.Disk`, nothing of what is on it.
"""

import errno
import io
import os
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import BinaryIO

from tests.chaos.model.files import (
    Directory,
    File,
    Node,
    add_name,
    directories_of,
    files_of,
    move_name,
    remove_name,
)
from tests.chaos.model.fuse import Fuse
from tests.chaos.model.power_cut import PowerCut
from workers.spool.disk import EXT, Buffer, Disk

# How much of what no longer belongs to any file is kept, to turn up in new ones.
MAX_LITTER = 64


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
        self._top = Directory()
        self._skip = len(str(root)) + 1
        # What has been looked up since directories last came or went.
        self._known: dict[str, Directory] = {}
        self._files: dict[int, File] = {}
        self._open_directories: dict[int, Directory] = {}
        self._last_file = 2
        self._litter: list[bytes] = []
        self._boot = 1
        # Segments whose files cannot be read for now.
        self.unreadable: set[str] = set()

    def boot_id(self) -> int:
        return self._boot

    def create(self, path: Path) -> int:
        self._fuse.burn()
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        directory, name = self._place(path)
        if name in directory.names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        directory.change(add_name(name, File()))
        self._fuse.burn()
        return self._open_file(path)

    def reopen(self, path: Path) -> int:
        return self._open_file(path)

    def total_bytes(self, path: Path) -> int:
        del path
        return 1 << 20

    def free_files(self, path: Path) -> int:
        del path
        return 1 << 20

    def kind(self, path: Path) -> int:
        del path
        return EXT

    def reserve(self, file: int, start: int, size: int) -> None:
        del file, start
        self._fuse.burn()
        if self.room is not None and self.room < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open_to_read(self, path: Path) -> int:
        return self._open_file(path)

    def read_at(self, file: int, size: int, start: int) -> bytes:
        return self._files[file].content[start : start + size]

    def modified_at(self, path: Path) -> float:
        self._find(path)
        return time.time()

    def length(self, file: int) -> int:
        return len(self._files[file].content)

    def free_bytes(self, path: Path) -> int:
        del path
        # Another program may take the room between this answer and the write.
        return 1 << 40 if self.room is None or self._rng.random() < 0.9 else self.room

    def is_read_only(self, path: Path) -> bool:
        del path
        return False

    def write_at(self, file: int, buffers: Sequence[Buffer], start: int) -> int:
        self._fuse.burn()
        node, data = self._files[file], b"".join(buffers)
        before = node.content
        grows = max(0, start + len(data) - len(before))
        fits = len(data) if self.room is None else len(data) - max(0, grows - self.room)
        # A short write and the one that goes on from there: a process may die between the two.
        for size in (self._rng.randint(0, fits), fits):
            node.write(before[:start] + data[:size] + before[start + size :])
            self._fuse.burn()
        if self.room is not None:
            self.room -= min(self.room, grows)
        if fits < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
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
        files = list(files_of(self._top))
        if self.failing:
            for node in files:
                node.lies = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        for each in directories_of(self._top):
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
        directory.change(move_name(name, new.name))
        self._fuse.burn()

    def unlink(self, path: Path) -> None:
        self._fuse.burn()
        directory, name = self._place(path)
        node = directory.names.get(name)
        if isinstance(node, File):
            self._litter = [*self._litter, node.content][-MAX_LITTER:]
            directory.change(remove_name(name))
        self._fuse.burn()

    def open(self, path: Path) -> BinaryIO:
        if path.stem in self.unreadable:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return io.BytesIO(self._find(path).content)

    def size(self, path: Path) -> int:
        return len(self._find(path).content)

    def names(self, path: Path) -> list[str]:
        try:
            return sorted(self._directory(path).names)
        except FileNotFoundError:
            return []

    def make_directory(self, path: Path) -> None:
        """Make a directory; like any name it is there for good once its parent is synced."""
        directory, name = self._place(path)
        directory.change(add_name(name, Directory()))
        self._known = {}

    def remove_directory(self, path: Path) -> None:
        """Remove a directory and what is in it."""
        directory, name = self._place(path)
        directory.change(remove_name(name))
        self._known = {}

    def kill(self) -> None:
        """End every process: their descriptors go, the cache stays."""
        self._files, self._open_directories = {}, {}

    def evict(self) -> None:
        """Drop from the cache what a sync failed to write: what is read then is on the medium."""
        for node in files_of(self._top):
            if node.lies:
                node.states.append(self._rng.choice(node.states))

    def power_cut(self) -> None:
        """Cut the power: what was synced is left, and of the rest what chance leaves."""
        self.kill()
        self._boot += 1
        self.room, self.failing = None, False
        PowerCut(rng=self._rng, litter=self._litter).cut(self._top)
        self._known = {}

    def damage(self, path: Path, *, at: int) -> None:
        """Let a bit rot: flip one in the byte at `at`, in the cache and on the medium."""
        node = self._find(path)
        content = bytearray(node.content)
        content[at] ^= 1 << self._rng.randrange(8)
        node.states = [bytes(content)]

    def contents(self, path: Path) -> dict[str, bytes]:
        """Return what is in the files of a directory, by their names; none if it is not there."""
        try:
            names = self._directory(path).names
        except FileNotFoundError:
            return {}
        return {name: node.content for name, node in names.items() if isinstance(node, File)}

    def read(self, path: Path) -> bytes:
        """Return what is in a file."""
        return self._find(path).content

    def write(self, path: Path, content: bytes) -> None:
        """Replace what is in a file, in the cache and on the medium."""
        self._find(path).states = [content]

    def _place(self, path: Path) -> tuple[Directory, str]:
        above, _, name = str(path).rpartition("/")
        return self._directory(above), name

    def _directory(self, path: Path | str) -> Directory:
        text = str(path)
        if found := self._known.get(text):
            return found
        node: Node | None = self._top
        for name in text[self._skip :].split("/"):
            if name and isinstance(node, Directory):
                node = node.names.get(name)
        if not isinstance(node, Directory):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), text)
        self._known[text] = node
        return node

    def _find(self, path: Path) -> File:
        directory, name = self._place(path)
        node = directory.names.get(name)
        if not isinstance(node, File):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return node

    def _open_file(self, path: Path) -> int:
        self._last_file += 1
        self._files[self._last_file] = self._find(path)
        return self._last_file
