"""The figures of processes in the spool: each writes its own file, anyone reads all.

    SPOOL_DIR/figures/<32 hex digits>/process    its directory is locked while the process lives

A file is overwritten in place and never synced: a write is a copy into the page cache. What is read
while it is written has a wrong checksum, and is read again.
"""

import contextlib
import logging
import os
import shutil
import uuid
from pathlib import Path

import msgspec
from isal.isal_zlib import crc32

from workers.figures.figures import ProcessFigures, StoredFigures
from workers.spool.disk import FILE_MODE, LOOK, DirectoryLock, lock_directory, set_mode
from workers.spool.documents import make_directory

log = logging.getLogger(__name__)

FIGURES, FILE = "figures", "process"
MAX_OBJECTS = 50
_HEAD_BYTES = 8
_TRIES = 5


class Published:
    """The file of this process, for one thread. Methods block on the disk and do not raise."""

    def __init__(self, root: Path) -> None:
        self._root = root / FIGURES
        self._lock: DirectoryLock | None = None
        self._file: int | None = None
        self._name = uuid.uuid4().hex
        self._failed = False
        # What processes before this one have stored, newest first.
        self.inherited: list[StoredFigures] = []

    def write(self, figures: ProcessFigures) -> None:
        """Replace what this process shows."""
        try:
            if self._file is None:
                self._start(figures)
            else:
                _write(self._file, figures)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("the console has old figures", extra={"reason": str(error)})
            self._failed = True

    @property
    def is_open(self) -> bool:
        """Whether this process has its file."""
        return self._file is not None

    def close(self) -> None:
        """Say that this process ends. Its file stays until the next start, for its objects."""
        if self._file is not None and self._lock is not None:
            os.close(self._file)
            self._lock.release()
            self._file = self._lock = None

    def _start(self, figures: ProcessFigures) -> None:
        """Write the file a first time, then remove what processes that ended have left.

        In this order their objects outlive a kill in between: they are in one file or in two.
        """
        make_directory(self._root)
        left = [(path, lock) for path in _directories(self._root) if (lock := lock_directory(path))]
        try:
            found = [_read(path / FILE) for path, _ in left]
            self.inherited = newest([o for each in found if each for o in each.objects])
            objects = newest([*figures.objects, *self.inherited])
            self._file = self._create()
            _write(self._file, msgspec.structs.replace(figures, objects=objects))
            for path, _ in left:
                shutil.rmtree(path, ignore_errors=True)
        finally:
            for _, lock in left:
                lock.release()

    def _create(self) -> int:
        # It gets its name once it is locked: one that is not locked is taken for one that is left.
        new = self._root / f".{self._name}"
        make_directory(new)
        try:
            self._lock = lock_directory(new)
            file = os.open(new / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
            set_mode(file, FILE_MODE)
            new.rename(self._root / self._name)
        except OSError:
            if self._lock is not None:
                self._lock.release()
            shutil.rmtree(new, ignore_errors=True)
            raise
        return file


def newest(objects: list[StoredFigures]) -> list[StoredFigures]:
    """Return the objects that were stored last, newest first, each once."""
    by_segment = {stored.segment: stored for stored in objects}
    return sorted(by_segment.values(), key=lambda stored: stored.at, reverse=True)[:MAX_OBJECTS]


def read_processes(root: Path) -> list[ProcessFigures]:
    """Return the figures of all processes that run now, by their start. Blocks on the disk.

    One that was killed is not among them: the kernel has released its lock.
    """
    found = []
    for path in _directories(root / FIGURES):
        lock = None
        with contextlib.suppress(OSError):
            lock = lock_directory(path, LOOK)
        if lock is not None:
            lock.release()
        elif (figures := _read(path / FILE)) is not None:
            found.append(figures)
    return sorted(found, key=lambda figures: (figures.started_at, figures.pid))


def _write(file: int, figures: ProcessFigures) -> None:
    body = msgspec.json.encode(figures)
    head = len(body).to_bytes(4, "little") + crc32(body).to_bytes(4, "little")
    os.pwrite(file, head + body, 0)


def _directories(root: Path) -> list[Path]:
    try:
        return [path for path in root.iterdir() if len(path.name) == 32]
    except OSError:
        return []


def _read(path: Path) -> ProcessFigures | None:
    """Read a process's figures; None where there are none, or another version wrote them."""
    for _ in range(_TRIES):
        try:
            content = path.read_bytes()
        except OSError:
            return None
        size = int.from_bytes(content[:4], "little")
        body = content[_HEAD_BYTES : _HEAD_BYTES + size]
        if size and crc32(body) == int.from_bytes(content[4:_HEAD_BYTES], "little"):
            with contextlib.suppress(msgspec.DecodeError):
                return msgspec.json.decode(body, type=ProcessFigures)
            return None
    return None
