"""The journals: nothing is answered before it is safe, and a failure is never half a promise."""

import os
from pathlib import Path

import pytest

from tests.conftest import BadDisk
from workers.errors import NotConfirmed, NotDurable
from workers.segments.future import DurabilityFuture, Run
from workers.segments.naming import segment_name
from workers.segments.segment import Header, MemoryBody, Segment
from workers.spool.committer import MAX_GROUP, Committer, MemoryCommitter
from workers.spool.counters import Counters, Field
from workers.spool.segment_file import OPEN, READY, SegmentFile


@pytest.fixture
def counters(tmp_path: Path) -> Counters:
    """Make a board of zeroes."""
    return Counters.create(tmp_path / "ledger")


@pytest.fixture
def disk() -> BadDisk:
    """Make a disk that works until it is told not to."""
    return BadDisk()


@pytest.fixture
def committer(counters: Counters) -> Committer:
    """Make a journal whose groups are committed when `step` is called."""
    return Committer(counters)


class Segments:
    """Makes segments with files on one disk."""

    def __init__(self, directory: Path, disk: BadDisk) -> None:
        self.directory = directory
        self.disk = disk
        self.made = 0

    def sync_all(self) -> None:
        """Sync the file system they are on."""
        directory = os.open(self.directory, os.O_RDONLY)
        try:
            self.disk.sync_everything(directory)
        finally:
            os.close(directory)

    def new(self) -> Segment:
        """Make one more."""
        self.made += 1
        name = segment_name(self.made)
        header = Header(name=name, stream="s", bucket="b", key="k", compression="none")
        return Segment(header, SegmentFile(self.directory / (name + OPEN), disk=self.disk))


@pytest.fixture
def segments(tmp_path: Path, disk: BadDisk) -> Segments:
    """Make segments beside the board."""
    return Segments(tmp_path, disk)


def append(committer: Committer, *segments: Segment) -> DurabilityFuture:
    """Append one collection, a line to each segment, as the intake does."""
    for segment in segments:
        segment.reserved_lines += 1
    return committer.append([Run(each, each.reserved_lines, b"{}\n", 1) for each in segments])


def settled(future: DurabilityFuture) -> bool:
    """Whether whoever waits for the ticket has been woken."""
    return future.done


def path_of(segment: Segment) -> Path:
    """Return where a segment's file is now."""
    assert isinstance(segment.body, SegmentFile)
    return segment.body.path


def test_a_group_is_one_sync(committer: Committer, segments: Segments, counters: Counters) -> None:
    """All that came meanwhile is written, each file synced once, and everybody is woken."""
    one, two = segments.new(), segments.new()
    futures = [append(committer, one) for _ in range(5)] + [append(committer, two)]
    assert not any(map(settled, futures))
    assert committer.step()
    for future in futures:
        future.result()
    assert segments.disk.log == ["append", "append", *["sync", "sync_names"] * 2]
    assert (one.lines, one.size, two.lines) == (5, 15, 1)
    assert counters[Field.ACCEPTED] == 6
    assert counters[Field.ACCEPTED_BYTES] == 18
    assert counters[Field.COMMITS] == 1
    assert counters[Field.COMMITTED_COLLECTIONS] == 6


@pytest.fixture
def sweeping(counters: Counters, segments: Segments) -> Committer:
    """Make a journal to which more than two files are many."""
    return Committer(counters, sync_all=segments.sync_all, few=2)


def test_many_files_are_one_sync(sweeping: Committer, segments: Segments) -> None:
    """However many streams a group is for, the disk is waited for once; a few are synced each."""
    many = [segments.new() for _ in range(5)]
    futures = [append(sweeping, each) for each in many]
    sweeping.step()
    assert all(map(settled, futures))
    assert segments.disk.log == [*["append"] * 5, "sync_everything"]
    append(sweeping, many[0], many[1])
    sweeping.step()
    assert segments.disk.log[6:] == ["append", "append", "sync", "sync"]


def test_what_waits_for_the_disk_is_counted(committer: Committer, segments: Segments) -> None:
    """From the moment it is taken until it is safe, refused ones too."""
    segment = segments.new()
    for _ in range(3):
        append(committer, segment)
    assert committer.waiting_bytes == 9
    committer.step()
    assert committer.waiting_bytes == 0
    append(committer, segment)
    segments.disk.full = True
    committer.step()
    assert committer.waiting_bytes == 0


def test_a_failed_sync_of_everything_ends_acceptance(
    sweeping: Committer, segments: Segments
) -> None:
    """It is as final as that of one file: nobody is answered, and nothing is taken any more."""
    many = [segments.new() for _ in range(3)]
    segments.disk.failing = True
    futures = [append(sweeping, each) for each in many]
    sweeping.step()
    for future in futures:
        with pytest.raises(NotConfirmed):
            future.result()
    assert sweeping.broken
    assert [path_of(each).stat().st_size for each in many] == [0, 0, 0]


def test_no_answer_overtakes_the_sync(
    committer: Committer, segments: Segments, counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk syncs nobody has been woken, nothing counted."""
    segment = segments.new()
    future = append(committer, segment)
    seen: list[tuple[bool, int]] = []

    def look(_: object) -> None:
        seen.append((settled(future), counters[Field.ACCEPTED]))

    monkeypatch.setattr(segments.disk, "sync", look)
    monkeypatch.setattr(segments.disk, "sync_names", look)
    committer.step()
    assert seen == [(False, 0), (False, 0)]
    assert settled(future)


def test_a_group_is_bounded(committer: Committer, segments: Segments, counters: Counters) -> None:
    """A flood does not keep the first in line waiting for the last."""
    segment = segments.new()
    for _ in range(MAX_GROUP + 1):
        append(committer, segment)
    committer.step()
    assert counters[Field.ACCEPTED] == MAX_GROUP
    committer.step()
    assert counters[Field.ACCEPTED] == MAX_GROUP + 1


def test_a_seal_comes_behind_what_was_appended(committer: Committer, segments: Segments) -> None:
    """A segment is frozen in the step that writes its last lines, and says what it holds."""
    segment = segments.new()
    append(committer, segment)
    committer.seal(segment)
    committer.step()
    assert segment.frozen.is_set()
    assert path_of(segment).suffix == READY
    assert isinstance(segment.body, SegmentFile)
    assert segment.body.read_seal() == (1, 3)


def test_stop_is_behind_everything(committer: Committer, segments: Segments) -> None:
    """The committer ends only when what it was given is done."""
    segment = segments.new()
    future = append(committer, segment)
    committer.seal(segment)
    committer.stop()
    committer.run()
    future.result()
    assert segment.frozen.is_set()


def test_a_full_disk_refuses_the_group(
    committer: Committer, segments: Segments, counters: Counters
) -> None:
    """None of the group is kept, what was there before is, and the next segment works again."""
    segment = segments.new()
    before = append(committer, segment)
    committer.step()
    segments.disk.full = True
    futures = [append(committer, segment), append(committer, segments.new())]
    committer.step()
    for future in futures:
        with pytest.raises(NotDurable, match="No space"):
            future.result()
    assert committer.broken is None
    segments.disk.full = False
    committer.seal(segment)
    after = append(committer, segments.new())
    committer.step()
    before.result()
    after.result()
    assert counters[Field.ACCEPTED] == 2
    assert list(segment.body.read()) == [b"{}\n"]


def test_what_was_behind_lost_lines_is_refused(committer: Committer, segments: Segments) -> None:
    """Lines that were given numbers behind lines that never came are not kept under them."""
    segment = segments.new()
    segments.disk.full = True
    first = append(committer, segment)
    committer.step()
    segments.disk.full = False
    second = append(committer, segment)
    committer.step()
    for future in (first, second):
        with pytest.raises(NotDurable):
            future.result()
    assert segment.write_failed
    assert segment.lines == 0


def test_a_refused_collection_spoils_all_its_segments(
    committer: Committer, segments: Segments
) -> None:
    """Refused for one of its segments, a collection leaves a gap in the other one, too."""
    one, two = segments.new(), segments.new()
    segments.disk.full = True
    append(committer, one)
    committer.step()
    segments.disk.full = False
    spanning = append(committer, one, two)
    behind = append(committer, two)
    committer.step()
    for future in (spanning, behind):
        with pytest.raises(NotDurable):
            future.result()
    assert two.write_failed
    assert two.lines == 0


def test_a_failed_sync_ends_acceptance_for_good(
    committer: Committer, segments: Segments, counters: Counters
) -> None:
    """After EIO nobody can tell what is on the disk: no answer, now or later."""
    segments.disk.failing = True
    futures = [append(committer, segments.new())]
    committer.step()
    segments.disk.failing = False
    futures.append(append(committer, segments.new()))
    committer.step()
    for future, error in zip(futures, (NotConfirmed, NotDurable), strict=True):
        with pytest.raises(error, match="spool failed"):
            future.result()
    assert committer.broken is not None
    assert "restart" in committer.broken
    assert counters[Field.ACCEPTED] == 0
    assert segments.disk.log.count("sync") == 1


@pytest.mark.parametrize("when", ["with lines", "at its seal", "behind another"])
def test_nobody_waits_for_ever_for_a_broken_spool(
    committer: Committer, segments: Segments, when: str
) -> None:
    """Every sealed segment is let go, unready: its worker gives it up, and the file stays."""
    segment = segments.new()
    append(committer, segment)
    if when != "with lines":
        committer.step()
    segments.disk.failing = True
    if when == "behind another":
        append(committer, segments.new())
    committer.seal(segment)
    committer.step()
    assert segment.frozen.is_set()
    assert path_of(segment).suffix == OPEN
    assert path_of(segment).exists()


def test_memory_keeps_at_once(counters: Counters) -> None:
    """In memory mode there is nothing to wait for."""
    header = Header(name="n", stream="s", bucket="b", key="k", compression="none")
    segment = Segment(header, MemoryBody())
    committer = MemoryCommitter(counters)
    committer.append([Run(segment, 1, b"1\n2\n", 2), Run(segment, 3, b"3\n", 1)])
    assert list(segment.body.read()) == [b"1\n2\n", b"3\n"]
    assert (segment.lines, segment.size, counters[Field.ACCEPTED]) == (3, 6, 3)
    committer.seal(segment)
    assert segment.frozen.is_set()
    committer.stop()
