"""The few file operations that durability rests on, in one place so that tests can take its place.

Everything here blocks on the disk and raises `OSError`.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, TypeAlias

# POSIX lets a system refuse longer lists; Linux takes 1024 (limits.h, UIO_MAXIOV)
_IOV_MAX = 1024
Buffer: TypeAlias = bytes | memoryview
READ_BYTES = 1 << 17
_libc = ctypes.CDLL(None, use_errno=True)
# linux/falloc.h
_KEEP_SIZE = 1
_WRITE = os.O_RDWR | os.O_CLOEXEC
# More than struct statfs takes anywhere; `f_type`, a long, is its first member.
_STATFS_BYTES = 256
# linux/magic.h. Ext2, ext3 and ext4 have one number.
EXT, XFS, BTRFS, F2FS, ZFS, BCACHEFS = (
    0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x2FC12FC1, 0xCA451A4E
)  # fmt: skip
KNOWN_TO_SYNC = frozenset({EXT, XFS, BTRFS, F2FS})
LOCAL = KNOWN_TO_SYNC | {ZFS, BCACHEFS}
# What is written over again stays in its blocks: no change of the file's metadata needs a sync.
IN_PLACE = frozenset({EXT, XFS})
IN_MEMORY = frozenset({0x01021994, 0x858458F6})  # tmpfs, ramfs
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Of everything in the spool, independent of the umask: the group may read, others may not.
FILE_MODE, DIRECTORY_MODE = 0o640, 0o750
# A lock to see whether a directory has an owner: those who look at one time do not see each other.
LOOK = fcntl.LOCK_SH | fcntl.LOCK_NB
# A lock that is waited for.
WAIT = fcntl.LOCK_EX


class Disk:
    """A local file system. Paths in, file descriptors between; no state of its own."""

    def create(self, path: Path) -> int:
        """Make a new file to write to; it must not exist."""
        file = os.open(path, os.O_CREAT | os.O_EXCL | _WRITE, FILE_MODE)
        set_mode(file, FILE_MODE)
        return file

    def reopen(self, path: Path) -> int:
        """Open a file that is there, to write to it or cut it."""
        return os.open(path, _WRITE)

    def boot_id(self) -> int:
        """Return 126 bits that name this boot of the machine (random(4)); 0 where it has none."""
        try:
            return int(_BOOT_ID.read_text().replace("-", ""), 16) >> 2
        except (OSError, ValueError):
            return 0

    def total_bytes(self, path: Path) -> int:
        """Return the size of the file system of `path`."""
        found = os.statvfs(path)
        return found.f_blocks * found.f_frsize

    def free_files(self, path: Path) -> int:
        """Return how many files this process may still make there; many where none are counted."""
        found = os.statvfs(path)
        return found.f_favail if found.f_files else 1 << 40

    def kind(self, path: Path) -> int:
        """Return the magic number of the kind of file system of `path` (statfs(2))."""
        found = ctypes.create_string_buffer(_STATFS_BYTES)
        if _libc.statfs(os.fsencode(path), found):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
        return ctypes.c_ulong.from_buffer(found).value

    def length(self, file: int) -> int:
        """Return the length of an open file in bytes."""
        return os.fstat(file).st_size

    def free_bytes(self, path: Path) -> int:
        """Return how much this process may still write to the file system of `path`."""
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    def is_read_only(self, path: Path) -> bool:
        """Whether the file system of `path` is mounted, or was remounted, read-only."""
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)

    def write_at(self, file: int, buffers: Sequence[Buffer], start: int) -> int:
        """Write all the buffers from `start` on, resuming short writes; return how many bytes."""
        at = start
        for first in range(0, len(buffers), _IOV_MAX):
            some = buffers[first : first + _IOV_MAX]
            done, want = os.pwritev(file, some, at), sum(map(len, some))
            at += done
            if done < want:
                rest = memoryview(b"".join(some))[done:]
                while rest:
                    done = os.pwrite(file, rest, at)
                    rest, at = rest[done:], at + done
        return at - start

    def reserve(self, file: int, start: int, size: int) -> None:
        """See that so many bytes can be written from `start` on; the file's length stays.

        Where the file system cannot promise that (fallocate(2)) nothing is done.
        """
        if _libc.fallocate(file, _KEEP_SIZE, ctypes.c_long(start), ctypes.c_long(size)):
            number = ctypes.get_errno()
            if number not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise OSError(number, os.strerror(number))

    def open_to_read(self, path: Path) -> int:
        """Open a file to `read_at` any place of it."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read_at(self, file: int, size: int, start: int) -> bytes:
        """Return `size` bytes of an open file from `start` on, fewer at its end."""
        parts = []
        while size > 0 and (part := os.pread(file, size, start)):
            parts.append(part)
            start, size = start + len(part), size - len(part)
        return b"".join(parts)

    def modified_at(self, path: Path) -> float:
        """Return when a file was last written, in seconds since 1970."""
        return path.stat().st_mtime

    def sync(self, file: int) -> None:
        """Make a file's bytes and length survive a power cut (fdatasync)."""
        os.fdatasync(file)

    def sync_everything(self, file: int) -> None:
        """Make all of a file system survive a power cut, names too: that of an open file (syncfs).

        One call for any number of files. It reports what failed since the last call by the same
        descriptor, so that one should be kept for it; from Linux 5.8 on (syncfs(2)).
        """
        if _libc.syncfs(file):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def syncs_everything(self, path: Path) -> bool:
        """Whether `sync_everything` is known to sync, and to report failures, at `path`."""
        try:
            if self.kind(path) not in KNOWN_TO_SYNC:
                return False
        except OSError:
            return False
        found = re.match(r"(\d+)\.(\d+)", os.uname().release)
        return bool(found and (int(found[1]), int(found[2])) >= (5, 8) and hasattr(_libc, "syncfs"))

    def truncate(self, file: int, length: int) -> None:
        """Cut a file to `length` bytes."""
        os.ftruncate(file, length)

    def cut(self, path: Path, length: int) -> None:
        """Cut a file that is not open to `length` bytes, for good."""
        file = self.reopen(path)
        try:
            self.truncate(file, length)
            self.sync(file)
        finally:
            self.close(file)

    def close(self, file: int) -> None:
        """Close a file."""
        os.close(file)

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory survive a power cut."""
        directory = self.open_directory(path)
        try:
            self.sync_names(directory)
        finally:
            os.close(directory)

    def open_directory(self, path: Path) -> int:
        """Open a directory, to sync its names."""
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def sync_names(self, directory: int) -> None:
        """Make the names in an open directory survive a power cut."""
        os.fsync(directory)

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file, replacing what bore the new name."""
        os.rename(old, new)

    def unlink(self, path: Path) -> None:
        """Remove a file; one that is gone already is fine."""
        path.unlink(missing_ok=True)

    def open(self, path: Path) -> BinaryIO:
        """Open a file to read it; the caller closes it."""
        return path.open("rb", buffering=READ_BYTES)

    def size(self, path: Path) -> int:
        """Return a file's length in bytes."""
        return path.stat().st_size

    def names(self, path: Path) -> list[str]:
        """Return the names in a directory, sorted; none where there is no such directory."""
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []


def set_mode(file: int, mode: int) -> None:
    """Give an open file a mode that the umask has no say in; some file systems have no modes."""
    with contextlib.suppress(PermissionError):
        os.fchmod(file, mode)


class DirectoryLock:
    """A lock on a directory, until `release`, or until the kernel frees it: the process died."""

    def __init__(self, descriptors: list[int]) -> None:
        self._descriptors = descriptors

    @property
    def descriptor(self) -> int:
        """The open directory."""
        return self._descriptors[0]

    def add_file(self, path: Path) -> None:
        """Make a lock file and lock it too: versions before look at that file only."""
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        self._descriptors.append(file)
        set_mode(file, FILE_MODE)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """Release the lock."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []


# A lock that may be waited for, and one that is had at once or not.
WAIT, NO_WAIT = fcntl.LOCK_EX, fcntl.LOCK_EX | fcntl.LOCK_NB


def lock_directory(path: Path, kind: int = NO_WAIT) -> DirectoryLock | None:
    """Lock a directory for this process; `kind` is flock(2)'s.

    The lock is on the directory itself: a file in it may be removed by a program that cleans up.
    The file `lock`, which is all that older versions know, is locked besides if it is there; it is
    not made anew, as a process that holds a removed one could not be seen.

    Returns:
        The lock, or None when another process has it, or the directory has gone.
    """
    try:
        descriptors = [os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptors[0], kind)
        with contextlib.suppress(FileNotFoundError):
            descriptors.append(os.open(path / "lock", os.O_RDONLY | os.O_CLOEXEC))
            fcntl.flock(descriptors[1], kind)
        # Its last owner may have removed the directory since it was opened.
        if os.path.samestat(os.fstat(descriptors[0]), os.stat(path)):
            return DirectoryLock(descriptors)
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        DirectoryLock(descriptors).release()
        raise
    DirectoryLock(descriptors).release()
    return None
