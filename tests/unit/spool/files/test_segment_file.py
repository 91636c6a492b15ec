"""A segment's file: its life from first frame to seal, on disks that are full or write short."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.doubles import BadDisk
from tests.unit.spool.samples import HEADER, LINES, NUMBERED, RUNS, SIZE, reopened
from workers.spool.disk import Disk
from workers.spool.frames import PREFIX_BYTES, Damaged
from workers.spool.room import LEAST_RESERVED_BYTES, MOST_RESERVED_BYTES
from workers.spool.segment_file import READY, SegmentFile


def test_a_life_without_trouble(file: SegmentFile, disk: BadDisk) -> None:
    """Appended, synced with its name, sealed, renamed, read, gone."""
    file.append(HEADER, NUMBERED[:1])
    file.sync()
    assert disk.log == ["write", "sync", "sync_names"]
    file.append(HEADER, NUMBERED[1:])
    file.sync()
    assert disk.log[3:] == ["write", "sync"]
    file.seal(lines=LINES, size=SIZE)
    assert disk.log[5:] == ["write", "sync"]
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
    size = sum(map(len, RUNS[:2]))
    file.seal(lines=3, size=size)
    assert list(file.read()) == RUNS[:2]
    assert file.read_seal() == (3, size)


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
    disk.free = LEAST_RESERVED_BYTES
    with pytest.raises(OSError, match="No space"):
        file.append(HEADER, NUMBERED)
    assert not list(file.path.parent.iterdir())
    disk.free = MOST_RESERVED_BYTES + SIZE
    file.append(HEADER, NUMBERED)
    file.discard()


def test_short_writes_are_resumed(file: SegmentFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that took only some of the bytes is gone on with, however often."""
    write = os.pwrite

    def five(descriptor: int, data: bytes, start: int) -> int:
        return write(descriptor, data[:5], start)

    def seven(descriptor: int, buffers: Sequence[bytes], start: int) -> int:
        return write(descriptor, b"".join(buffers)[:7], start)

    monkeypatch.setattr(os, "pwrite", five)
    monkeypatch.setattr(os, "pwritev", seven)
    file.append(HEADER, NUMBERED)
    file.seal(lines=LINES, size=SIZE)
    assert list(file.read()) == RUNS


def test_more_buffers_than_one_call_takes(file: SegmentFile) -> None:
    """A group may hold more collections than writev takes at once (IOV_MAX)."""
    runs = [(number, b"%d\n" % number) for number in range(1, 3001)]
    file.append(HEADER, runs)
    file.seal(lines=3000, size=sum(len(lines) for _, lines in runs))
    assert list(file.read()) == [lines for _, lines in runs]


def test_names_of_a_directory(tmp_path: Path) -> None:
    """Names are sorted, and a directory that is gone has none."""
    for name in "bca":
        (tmp_path / name).touch()
    assert Disk().names(tmp_path) == ["a", "b", "c"]
    assert Disk().names(tmp_path / "gone") == []


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_frame_that_is_missing_is_seen_by_its_writer(file: SegmentFile, lost: int) -> None:
    """A file that lost a whole frame after its seal is damaged, though each frame left is right."""
    ends = [0]
    for run in NUMBERED:
        file.append(HEADER, [run])
        ends.append(len(file.path.read_bytes().rstrip(b"\0")))
    file.seal(lines=LINES, size=SIZE)
    data = file.path.read_bytes()
    first = ends[lost - 1] if lost > 1 else ends[1] - len(RUNS[0]) - PREFIX_BYTES
    file.path.write_bytes(data[:first] + data[ends[lost] :])
    with pytest.raises(Damaged):
        list(file.read())
