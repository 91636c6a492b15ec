"""Zeros ahead of an open segment file's end: what they spare a sync, and what they are not.

Nothing takes them for lines, or for damage.
"""

import errno
import io
import os
from pathlib import Path

import pytest

from tests.unit.spool.samples import HEADER, LINES, NAME, NUMBERED, SIZE, reopened
from workers.spool import frames
from workers.spool.disk import BTRFS, EXT, Disk
from workers.spool.room import AHEAD_BYTES, SMALL_GROUP_BYTES
from workers.spool.segment_file import OPEN, READY, SegmentFile

GROUP = b'{"n":1}\n' * 1000


class OfKind(Disk):
    """A disk with a file system of some kind, which may lack room or refuse to cut a file."""

    def __init__(self, kind: int = EXT) -> None:
        self._kind = kind
        self.free: int | None = None
        self.uncut = False

    def kind(self, path: Path) -> int:
        del path
        return self._kind

    def free_bytes(self, path: Path) -> int:
        return super().free_bytes(path) if self.free is None else self.free

    def total_bytes(self, path: Path) -> int:
        del path
        return 1 << 20

    def truncate(self, file: int, length: int) -> None:
        if self.uncut:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        super().truncate(file, length)


def made(root: Path, disk: Disk) -> SegmentFile:
    """Make a file that is not on the disk yet."""
    root.mkdir(exist_ok=True)
    return SegmentFile(root / (NAME + OPEN), disk=disk)


def grow(file: SegmentFile, groups: int, lines: bytes = GROUP) -> list[tuple[int, int]]:
    """Append so many groups; return the file's size and blocks behind each."""
    found = []
    for number in range(groups):
        file.append(HEADER, [(number * 1000 + 1, lines)])
        file.sync()
        about = file.path.stat()
        found.append((about.st_size, about.st_blocks))
    return found


def test_most_groups_change_neither_size_nor_blocks(tmp_path: Path) -> None:
    """What a sync would have to write to the file system's journal stays as it is."""
    found = grow(made(tmp_path, OfKind()), 200)
    assert len(set(found)) < 20
    assert found[-1][0] <= 200 * (len(GROUP) + frames.PREFIX_BYTES) + AHEAD_BYTES + 500


@pytest.mark.parametrize("kind", [EXT, BTRFS])
def test_a_ready_file_has_no_zeros(tmp_path: Path, kind: int) -> None:
    """With or without zeros ahead a sealed file has the same bytes."""
    file = made(tmp_path, OfKind(kind))
    file.append(HEADER, NUMBERED)
    file.sync()
    is_longer = file.path.stat().st_size > SIZE * 2 + 3 * frames.PREFIX_BYTES + 200
    file.seal(lines=LINES, size=SIZE)
    with file.path.open("rb") as opened:
        *_, seal = frames.read(opened, frames.seed(NAME))
    assert (seal.mark, seal.end) == (frames.SEAL, file.path.stat().st_size)
    assert is_longer == (kind == EXT)


def test_zeros_are_only_where_they_help(tmp_path: Path) -> None:
    """A large group, a file system that copies on write, and a full one go without."""
    full = OfKind()
    large, small = b"x" * SMALL_GROUP_BYTES + b"\n", b"x" * (SMALL_GROUP_BYTES - 1) + b"\n"
    full.free = (1 << 20) + len(small)
    cases = [(OfKind(), large), (OfKind(BTRFS), small), (full, small)]
    for number, (disk, lines) in enumerate(cases):
        file = made(tmp_path / str(number), disk)
        grow(file, 1, lines)
        assert frames.content_end(io.BytesIO(file.path.read_bytes())) == file.path.stat().st_size


@pytest.mark.parametrize("zeros", [0, 1, 500, frames.READ_BYTES * 2])
def test_a_group_that_a_kill_cut_off_before_zeros(tmp_path: Path, zeros: int) -> None:
    """However much of it was written: the groups before are whole, the rest is its beginning."""
    file = made(tmp_path, OfKind())
    grow(file, 2)
    file.append(HEADER, [(2001, b"x\n")])
    content = file.path.read_bytes().rstrip(b"\0")
    for left in range(len(b"x\n") + frames.PREFIX_BYTES):
        torn = content[: len(content) - len(b"x\n") - frames.PREFIX_BYTES + left]
        file.path.write_bytes(torn + bytes(zeros))
        found = reopened(file.path).survey()
        assert (found.lines, found.damaged) == (2000, False)
        assert found.tail == ("short" if left else "whole")


@pytest.mark.parametrize("at", [1, 20, 2000])
def test_bytes_among_the_zeros_are_seen(tmp_path: Path, at: int) -> None:
    """What no kill leaves behind the last group is no frame that was cut off."""
    file = made(tmp_path, OfKind())
    grow(file, 1)
    content = bytearray(file.path.read_bytes())
    end = len(content.rstrip(b"\0"))
    content[end + at : end + at + 20] = b"?" * 20
    file.path.write_bytes(content)
    assert reopened(file.path).survey().tail == "torn"


def test_recovery_cuts_zeros_off(tmp_path: Path) -> None:
    """What a dead process left is ready without them, sealed or not."""
    for number, sealed in enumerate((False, True)):
        file = made(tmp_path / str(number), OfKind())
        grow(file, 3)
        if sealed:
            with file.path.open("r+b") as opened:
                opened.seek(frames.content_end(opened))
                opened.write(frames.seal(3000, 3 * len(GROUP), frames.seed(NAME)))
        found = reopened(file.path)
        assert found.recover().sealed == sealed
        assert b"".join(found.read()) == GROUP * 3
        assert found.read_seal() == (3000, 3 * len(GROUP))


def test_what_cannot_be_cut_is_not_ready(tmp_path: Path) -> None:
    """On a disk that is read-only just then: it can be read, and becomes ready without zeros."""
    disk = OfKind()
    file = made(tmp_path, disk)
    grow(file, 2)
    disk.uncut = True
    file.seal(lines=2000, size=2 * len(GROUP))
    assert b"".join(file.read()) == GROUP * 2
    with pytest.raises(OSError, match="Read-only"):
        file.make_ready()
    disk.uncut = False
    assert file.make_ready()
    assert reopened(file.path.with_suffix(READY)).read_seal() == (2000, 2 * len(GROUP))


def test_zeros_of_a_frozen_file_are_damage(tmp_path: Path) -> None:
    """A ready file was cut to its end: what is behind it, or was there, has changed since."""
    file = made(tmp_path, OfKind())
    grow(file, 2)
    file.seal(lines=2000, size=2 * len(GROUP))
    with file.path.open("ab") as opened:
        opened.write(bytes(100))
    assert reopened(file.path).inspect().damaged
    with pytest.raises(frames.Damaged):
        list(reopened(file.path).read())
