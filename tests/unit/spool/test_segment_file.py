"""A segment's file: its life from first frame to seal, and back after every kind of crash."""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.conftest import BadDisk
from workers.segments.naming import segment_name
from workers.segments.segment import Header
from workers.spool import frames
from workers.spool.disk import Disk, try_lock
from workers.spool.segment_file import OPEN, READY, RESERVED_BYTES, SegmentFile

NAME = segment_name(1)
HEADER = Header(name=NAME, stream="s", bucket="b", key="k", compression="gzip")
RUNS = [b'{"a":1}\n', b'{"b":2}\n{"b":3}\n', b'{"c":4}\n']
NUMBERED = list(zip((1, 2, 4), RUNS, strict=True))
LINES, SIZE = 4, sum(map(len, RUNS))


@pytest.fixture
def disk() -> BadDisk:
    """Make a disk that works until it is told not to."""
    return BadDisk()


@pytest.fixture
def file(tmp_path: Path, disk: BadDisk) -> SegmentFile:
    """Make a segment's file; nothing is on the disk yet."""
    return SegmentFile(tmp_path / (NAME + OPEN), disk=disk)


def reopened(path: Path) -> SegmentFile:
    """Return the file as another process finds it."""
    return SegmentFile(path, disk=Disk())


@pytest.fixture
def sealed(file: SegmentFile) -> bytes:
    """Write all runs and the seal; return the bytes of the file."""
    file.append(HEADER, NUMBERED)
    file.sync()
    file.seal(lines=LINES, size=SIZE)
    return file.path.read_bytes()


def test_a_life_without_trouble(file: SegmentFile, disk: BadDisk) -> None:
    """Appended, synced with its name, sealed, renamed, read, gone."""
    file.append(HEADER, NUMBERED[:1])
    file.sync()
    assert disk.log == ["append", "sync", "sync_names"]
    file.append(HEADER, NUMBERED[1:])
    file.sync()
    assert disk.log[3:] == ["append", "sync"]
    file.seal(lines=LINES, size=SIZE)
    assert disk.log[5:] == ["append", "sync"]
    assert file.path.suffix == READY
    assert list(file.read()) == RUNS
    assert file.read_seal() == (LINES, SIZE)
    assert file.read_header() == HEADER
    file.discard()
    file.discard()
    assert not list(file.path.parent.iterdir())


def test_nothing_to_do_for_a_file_that_never_was(file: SegmentFile) -> None:
    """A segment without a line has no file to sync, seal or remove."""
    file.sync()
    file.seal(lines=0, size=0)
    file.roll_back()
    file.discard()
    assert not list(file.path.parent.iterdir())


def test_a_file_must_not_be_there_already(file: SegmentFile) -> None:
    """A name that recurs is an error and not a mixture of two segments."""
    file.path.touch()
    with pytest.raises(FileExistsError):
        file.append(HEADER, NUMBERED)


def test_a_roll_back_leaves_what_was_synced(file: SegmentFile, disk: BadDisk) -> None:
    """A full disk costs the collections of that group and none before."""
    file.append(HEADER, NUMBERED[:2])
    file.sync()
    disk.full = True
    with pytest.raises(OSError, match="No space"):
        file.append(HEADER, NUMBERED[2:])
    file.roll_back()
    disk.full = False
    file.seal(lines=3, size=1)
    assert list(file.read()) == RUNS[:2]
    assert file.read_seal() == (3, 1)


def test_a_roll_back_of_everything_leaves_no_file(file: SegmentFile, disk: BadDisk) -> None:
    """A file of which nothing was ever answered for is not left lying about."""
    disk.full = True
    with pytest.raises(OSError, match="No space"):
        file.append(HEADER, NUMBERED)
    file.roll_back()
    assert not list(file.path.parent.iterdir())


def test_a_disk_too_full_for_a_seal(file: SegmentFile, disk: BadDisk) -> None:
    """The file is ready without its seal: uploading it is what makes room again."""
    file.append(HEADER, NUMBERED)
    file.sync()
    disk.full = True
    file.seal(lines=LINES, size=SIZE)
    found = reopened(file.path)
    assert found.path.suffix == READY
    assert found.read_seal() is None
    assert list(found.read()) == RUNS
    survey = found.recover()
    assert (survey.lines, survey.size, survey.sealed, survey.damaged) == (LINES, SIZE, False, False)
    assert found.path.exists()


def test_a_disk_too_full_for_a_seal_of_what_was_not_synced(
    file: SegmentFile, disk: BadDisk
) -> None:
    """Memory that is written down at a stop is synced with its seal: without one it stays, too."""
    file.append(HEADER, NUMBERED)
    disk.full = True
    file.seal(lines=LINES, size=SIZE)
    assert list(reopened(file.path).read()) == RUNS


def test_recovery_on_a_full_disk(file: SegmentFile, disk: BadDisk) -> None:
    """A dead process's lines are kept though there is no room to seal them."""
    file.append(HEADER, NUMBERED)
    file.sync()
    disk.full = True
    survey = SegmentFile(file.path, disk=disk).recover()
    assert survey.lines == LINES
    assert list(reopened(file.path.with_suffix(READY)).read()) == RUNS


def test_a_roll_back_is_for_good(file: SegmentFile, disk: BadDisk) -> None:
    """What was refused cannot come back after a power cut: the cut is synced, too."""
    file.append(HEADER, NUMBERED[:1])
    file.sync()
    disk.full = True
    with pytest.raises(OSError, match="No space"):
        file.append(HEADER, NUMBERED[1:])
    disk.log.clear()
    file.roll_back()
    assert disk.log == ["sync"]


def test_the_last_of_a_disk_is_not_for_lines(file: SegmentFile, disk: BadDisk) -> None:
    """Before the disk is full to the last byte, lines are refused: what makes room needs some."""
    disk.free = RESERVED_BYTES + SIZE - 1
    with pytest.raises(OSError, match="No space"):
        file.append(HEADER, NUMBERED)
    assert not list(file.path.parent.iterdir())
    disk.free += 1
    file.append(HEADER, NUMBERED)
    file.discard()


def test_short_writes_are_resumed(file: SegmentFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that took only some of the bytes is gone on with, however often."""
    write = os.write

    def five(descriptor: int, data: bytes) -> int:
        return write(descriptor, data[:5])

    def seven(descriptor: int, buffers: Sequence[bytes]) -> int:
        return write(descriptor, b"".join(buffers)[:7])

    monkeypatch.setattr(os, "write", five)
    monkeypatch.setattr(os, "writev", seven)
    file.append(HEADER, NUMBERED)
    file.seal(lines=LINES, size=SIZE)
    assert list(file.read()) == RUNS


def test_more_buffers_than_one_call_takes(file: SegmentFile) -> None:
    """A group may hold more collections than writev takes at once (IOV_MAX)."""
    runs = [(number, b"%d\n" % number) for number in range(1, 3001)]
    file.append(HEADER, runs)
    file.seal(lines=3000, size=1)
    assert list(file.read()) == [lines for _, lines in runs]


def test_recovery_after_a_cut_at_every_byte(sealed: bytes, tmp_path: Path) -> None:
    """Wherever the tail was torn, whole runs are left: frozen, counted and sealed."""
    ends = [sealed.index(run) + len(run) for run in RUNS]
    for cut in range(len(sealed) + 1):
        path = tmp_path / str(cut) / (NAME + OPEN)
        path.parent.mkdir()
        path.write_bytes(sealed[:cut])
        whole = RUNS[: sum(1 for end in ends if end <= cut)]
        file = reopened(path)
        survey = file.recover()
        assert survey.lines == b"".join(whole).count(b"\n")
        assert survey.size == len(b"".join(whole))
        assert not survey.damaged
        assert [each.suffix for each in path.parent.iterdir()] == ([READY] if whole else [])
        if whole:
            assert list(file.read()) == whole
            assert file.read_header() == HEADER
            assert file.read_seal() == (survey.lines, survey.size)


def test_recovery_changes_nothing_of_a_sealed_file(sealed: bytes, file: SegmentFile) -> None:
    """Killed between the seal and the rename, a file keeps every byte; again changes nothing."""
    for suffix in (OPEN, READY):
        path = file.path.rename(file.path.with_suffix(suffix))
        found = reopened(path)
        assert found.recover().sealed
        assert found.path.suffix == READY
        assert found.path.read_bytes() == sealed


def rot(sealed: bytes, *runs: bytes) -> bytes:
    """Change one byte in some runs."""
    for run in runs:
        sealed = sealed.replace(run, run[:2] + b"?" + run[3:])
    return sealed


def test_rot_in_the_middle_is_kept_as_it_is(sealed: bytes, file: SegmentFile) -> None:
    """A file with damage in it is frozen with every byte, for a person to look at."""
    path = file.path.rename(file.path.with_suffix(OPEN))
    path.write_bytes(rot(sealed, RUNS[1]))
    found = reopened(path)
    survey = found.recover()
    assert (survey.lines, survey.damaged) == (LINES, True)
    assert found.path.suffix == READY
    assert found.path.read_bytes() == rot(sealed, RUNS[1])
    with pytest.raises(frames.Damaged):
        list(found.read())


@pytest.mark.parametrize(
    ("groups", "lines", "damaged"), [([3], 1, False), ([1, 2], 1, False), ([2, 1], LINES, True)]
)
def test_a_torn_group_is_not_rot(
    file: SegmentFile, *, groups: list[int], lines: int, damaged: bool
) -> None:
    """A power cut may take any part of the last group; a later group alone proves rot."""
    start = 0
    for size in groups:
        file.append(HEADER, NUMBERED[start : start + size])
        file.sync()
        start += size
    file.path.write_bytes(rot(file.path.read_bytes(), RUNS[1]))
    survey = reopened(file.path).recover()
    assert (survey.lines, survey.damaged) == (lines, damaged)
    file.path = file.path.with_suffix(READY)
    file.discard()


def test_rot_at_the_end_of_a_frozen_file(sealed: bytes, file: SegmentFile) -> None:
    """What is ready was synced to its last byte: no part of it is a torn write."""
    file.path.write_bytes(rot(sealed, RUNS[2])[:-1])
    survey = reopened(file.path).recover()
    assert (survey.lines, survey.damaged) == (3, True)
    file.path.write_bytes(b"?" * len(sealed))
    survey = reopened(file.path).recover()
    assert (survey.lines, survey.damaged) == (0, True)
    assert file.path.exists()


@pytest.mark.parametrize(
    ("rotten", "left", "lost"),
    [
        ([], RUNS, []),
        ([0], [b"\n", *RUNS[1:]], [(1, 1)]),
        ([1], [RUNS[0], b"\n\n", RUNS[2]], [(2, 3)]),
        ([0, 1], [b"\n\n\n", RUNS[2]], [(1, 3)]),
        ([0, 2], [b"\n", RUNS[1], b"\n"], [(1, 1), (4, 4)]),
        ([0, 1, 2], [b"\n\n\n\n"], [(1, 4)]),
    ],
)
def test_damage_moves_no_line(
    sealed: bytes,
    file: SegmentFile,
    rotten: list[int],
    left: list[bytes],
    lost: list[tuple[int, int]],
) -> None:
    """Lines that are lost leave empty ones, so that every receipt still names its own."""
    file.path.write_bytes(rot(sealed, *(RUNS[index] for index in rotten)))
    seen: list[tuple[int, int]] = []
    assert list(reopened(file.path).read_damaged(LINES, seen)) == left
    assert seen == lost


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"x" + data[1:],
        lambda data: data[data.index(b"BBl1") :],
        lambda _: b"",
        lambda data: data.replace(b'"name"', b'"eman"'),
    ],
    ids=["rotten", "gone", "empty", "changed"],
)
def test_a_header_that_cannot_be_read(
    sealed: bytes, file: SegmentFile, spoil: Callable[[bytes], bytes]
) -> None:
    """Without its header a file says so, instead of naming a wrong place in the bucket."""
    file.path.write_bytes(spoil(sealed))
    assert reopened(file.path).read_header() is None


def test_a_header_of_another_shape_is_none(tmp_path: Path) -> None:
    """A header that is whole but is not ours to understand is as good as none."""
    seed = frames.seed(NAME)
    path = tmp_path / (NAME + READY)
    path.write_bytes(frames.prefix(frames.HEADER, b"[1]", seed) + b"[1]")
    assert reopened(path).read_header() is None


def test_a_lock_belongs_to_one(tmp_path: Path) -> None:
    """A lock is had at once or not at all, and again when its owner has let go."""
    lock = try_lock(tmp_path / "lock")
    assert lock is not None
    assert try_lock(tmp_path / "lock") is None
    os.close(lock)
    again = try_lock(tmp_path / "lock")
    assert again is not None
    os.close(again)


def test_a_lock_on_a_file_that_is_gone_guards_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened just before its last owner removed it, a lock file is not taken for a lock."""
    open_file = os.open

    def open_then_lose(path: Path, *how: int) -> int:
        descriptor = open_file(path, *how)
        path.unlink()
        return descriptor

    monkeypatch.setattr(os, "open", open_then_lose)
    assert try_lock(tmp_path / "lock") is None


def test_a_lock_that_the_file_system_lacks_is_an_error(tmp_path: Path) -> None:
    """A path that cannot be locked at all is not mistaken for one that somebody has locked."""
    with pytest.raises(OSError, match=os.strerror(errno.EISDIR)):
        try_lock(tmp_path)


def test_names_of_a_directory(tmp_path: Path) -> None:
    """Names are sorted, and a directory that is gone has none."""
    for name in "bca":
        (tmp_path / name).touch()
    assert Disk().names(tmp_path) == ["a", "b", "c"]
    assert Disk().names(tmp_path / "gone") == []
