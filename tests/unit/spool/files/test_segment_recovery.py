"""A segment's file after a crash or with damage: what can be read is recovered, and no more."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.spool.samples import HEADER, LINES, NAME, NUMBERED, RUNS, SIZE, reopened
from workers.spool import frames
from workers.spool.segment_file import OPEN, READY, SegmentFile


@pytest.fixture
def sealed(file: SegmentFile) -> bytes:
    """Write all runs and the seal; return the bytes of the file."""
    file.append(HEADER, NUMBERED)
    file.sync()
    file.seal(lines=LINES, size=SIZE)
    return file.path.read_bytes()


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


def test_a_header_of_another_shape_is_of_another_version(tmp_path: Path) -> None:
    """A header that is whole but cannot be decoded was not written by this version."""
    seed = frames.seed(NAME)
    path = tmp_path / (NAME + READY)
    path.write_bytes(frames.prefix(frames.HEADER, b"[1]", seed) + b"[1]")
    for read in (reopened(path).read_header, reopened(path).survey, reopened(path).inspect):
        with pytest.raises(frames.UnknownFormat):
            read()
