"""The journals: nothing is answered before it is safe, and a failure is never half a promise."""

import os
from pathlib import Path

import pytest

from tests.conftest import BadDisk
from workers.errors import NotDurable
from workers.segments.future import Run, Ticket
from workers.segments.naming import segment_name
from workers.segments.segment import Header, MemoryBody, Segment
from workers.spool.committer import MAX_GROUP, DiskJournal, MemoryJournal
from workers.spool.counters import Board, Field
from workers.spool.segment_file import OPEN, READY, SpoolFile


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """Make a board of zeroes."""
    return Board.create(tmp_path / "ledger")


@pytest.fixture
def disk() -> BadDisk:
    """Make a disk that works until it is told not to."""
    return BadDisk()


@pytest.fixture
def journal(board: Board) -> DiskJournal:
    """Make a journal whose groups are committed when `step` is called."""
    return DiskJournal(board)


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
        return Segment(header, SpoolFile(self.directory / (name + OPEN), disk=self.disk))


@pytest.fixture
def segments(tmp_path: Path, disk: BadDisk) -> Segments:
    """Make segments beside the board."""
    return Segments(tmp_path, disk)


def append(journal: DiskJournal, *segments: Segment) -> Ticket:
    """Append one collection, a line to each segment, as the intake does."""
    for segment in segments:
        segment.reserved_lines += 1
    return journal.append([Run(each, each.reserved_lines, b"{}\n", 1) for each in segments])


def settled(ticket: Ticket) -> bool:
    """Whether whoever waits for the ticket has been woken."""
    return ticket.settled


def path_of(segment: Segment) -> Path:
    """Return where a segment's file is now."""
    assert isinstance(segment.body, SpoolFile)
    return segment.body.path


def test_a_group_is_one_sync(journal: DiskJournal, segments: Segments, board: Board) -> None:
    """All that came meanwhile is written, each file synced once, and everybody is woken."""
    one, two = segments.new(), segments.new()
    tickets = [append(journal, one) for _ in range(5)] + [append(journal, two)]
    assert not any(map(settled, tickets))
    assert journal.step()
    for ticket in tickets:
        ticket.wait()
    assert segments.disk.log == ["append", "append", *["sync", "sync_names"] * 2]
    assert (one.lines, one.size, two.lines) == (5, 15, 1)
    assert board[Field.ACCEPTED] == 6
    assert board[Field.ACCEPTED_BYTES] == 18
    assert board[Field.COMMITS] == 1
    assert board[Field.COMMITTED_COLLECTIONS] == 6


@pytest.fixture
def sweeping(board: Board, segments: Segments) -> DiskJournal:
    """Make a journal to which more than two files are many."""
    return DiskJournal(board, sync_all=segments.sync_all, few=2)


def test_many_files_are_one_sync(sweeping: DiskJournal, segments: Segments) -> None:
    """However many streams a group is for, the disk is waited for once; a few are synced each."""
    many = [segments.new() for _ in range(5)]
    tickets = [append(sweeping, each) for each in many]
    sweeping.step()
    assert all(map(settled, tickets))
    assert segments.disk.log == [*["append"] * 5, "sync_everything"]
    append(sweeping, many[0], many[1])
    sweeping.step()
    assert segments.disk.log[6:] == ["append", "append", "sync", "sync"]


def test_what_waits_for_the_disk_is_counted(journal: DiskJournal, segments: Segments) -> None:
    """From the moment it is taken until it is safe, refused ones too."""
    segment = segments.new()
    for _ in range(3):
        append(journal, segment)
    assert journal.waiting_bytes == 9
    journal.step()
    assert journal.waiting_bytes == 0
    append(journal, segment)
    segments.disk.full = True
    journal.step()
    assert journal.waiting_bytes == 0


def test_a_failed_sync_of_everything_ends_acceptance(
    sweeping: DiskJournal, segments: Segments
) -> None:
    """It is as final as that of one file: nobody is answered, and nothing is taken any more."""
    many = [segments.new() for _ in range(3)]
    segments.disk.failing = True
    tickets = [append(sweeping, each) for each in many]
    sweeping.step()
    for ticket in tickets:
        with pytest.raises(NotDurable):
            ticket.wait()
    assert sweeping.broken
    assert [path_of(each).stat().st_size for each in many] == [0, 0, 0]


def test_no_answer_overtakes_the_sync(
    journal: DiskJournal, segments: Segments, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk syncs nobody has been woken, nothing counted."""
    segment = segments.new()
    ticket = append(journal, segment)
    seen: list[tuple[bool, int]] = []

    def look(_: object) -> None:
        seen.append((settled(ticket), board[Field.ACCEPTED]))

    monkeypatch.setattr(segments.disk, "sync", look)
    monkeypatch.setattr(segments.disk, "sync_names", look)
    journal.step()
    assert seen == [(False, 0), (False, 0)]
    assert settled(ticket)


def test_a_group_is_bounded(journal: DiskJournal, segments: Segments, board: Board) -> None:
    """A flood does not keep the first in line waiting for the last."""
    segment = segments.new()
    for _ in range(MAX_GROUP + 1):
        append(journal, segment)
    journal.step()
    assert board[Field.ACCEPTED] == MAX_GROUP
    journal.step()
    assert board[Field.ACCEPTED] == MAX_GROUP + 1


def test_a_seal_comes_behind_what_was_appended(journal: DiskJournal, segments: Segments) -> None:
    """A segment is frozen in the step that writes its last lines, and says what it holds."""
    segment = segments.new()
    append(journal, segment)
    journal.seal(segment)
    journal.step()
    assert segment.frozen.is_set()
    assert path_of(segment).suffix == READY
    assert isinstance(segment.body, SpoolFile)
    assert segment.body.read_seal() == (1, 3)


def test_stop_is_behind_everything(journal: DiskJournal, segments: Segments) -> None:
    """The committer ends only when what it was given is done."""
    segment = segments.new()
    ticket = append(journal, segment)
    journal.seal(segment)
    journal.stop()
    journal.run()
    ticket.wait()
    assert segment.frozen.is_set()


def test_a_full_disk_refuses_the_group(
    journal: DiskJournal, segments: Segments, board: Board
) -> None:
    """None of the group is kept, what was there before is, and the next segment works again."""
    segment = segments.new()
    before = append(journal, segment)
    journal.step()
    segments.disk.full = True
    tickets = [append(journal, segment), append(journal, segments.new())]
    journal.step()
    for ticket in tickets:
        with pytest.raises(NotDurable, match="No space"):
            ticket.wait()
    assert journal.broken is None
    segments.disk.full = False
    journal.seal(segment)
    after = append(journal, segments.new())
    journal.step()
    before.wait()
    after.wait()
    assert board[Field.ACCEPTED] == 2
    assert list(segment.body.read()) == [b"{}\n"]


def test_what_was_behind_lost_lines_is_refused(journal: DiskJournal, segments: Segments) -> None:
    """Lines that were given numbers behind lines that never came are not kept under them."""
    segment = segments.new()
    segments.disk.full = True
    first = append(journal, segment)
    journal.step()
    segments.disk.full = False
    second = append(journal, segment)
    journal.step()
    for ticket in (first, second):
        with pytest.raises(NotDurable):
            ticket.wait()
    assert segment.spoiled
    assert segment.lines == 0


def test_a_refused_collection_spoils_all_its_segments(
    journal: DiskJournal, segments: Segments
) -> None:
    """Refused for one of its segments, a collection leaves a gap in the other one, too."""
    one, two = segments.new(), segments.new()
    segments.disk.full = True
    append(journal, one)
    journal.step()
    segments.disk.full = False
    spanning = append(journal, one, two)
    behind = append(journal, two)
    journal.step()
    for ticket in (spanning, behind):
        with pytest.raises(NotDurable):
            ticket.wait()
    assert two.spoiled
    assert two.lines == 0


def test_a_failed_sync_ends_acceptance_for_good(
    journal: DiskJournal, segments: Segments, board: Board
) -> None:
    """After EIO nobody can tell what is on the disk: no answer, now or later."""
    segments.disk.failing = True
    tickets = [append(journal, segments.new())]
    journal.step()
    segments.disk.failing = False
    tickets.append(append(journal, segments.new()))
    journal.step()
    for ticket in tickets:
        with pytest.raises(NotDurable, match="spool failed"):
            ticket.wait()
    assert journal.broken is not None
    assert "restart" in journal.broken
    assert board[Field.ACCEPTED] == 0
    assert segments.disk.log.count("sync") == 1


@pytest.mark.parametrize("when", ["with lines", "at its seal", "behind another"])
def test_nobody_waits_for_ever_for_a_broken_spool(
    journal: DiskJournal, segments: Segments, when: str
) -> None:
    """Every sealed segment is let go, unready: its worker gives it up, and the file stays."""
    segment = segments.new()
    append(journal, segment)
    if when != "with lines":
        journal.step()
    segments.disk.failing = True
    if when == "behind another":
        append(journal, segments.new())
    journal.seal(segment)
    journal.step()
    assert segment.frozen.is_set()
    assert path_of(segment).suffix == OPEN
    assert path_of(segment).exists()


def test_memory_keeps_at_once(board: Board) -> None:
    """In memory mode there is nothing to wait for."""
    header = Header(name="n", stream="s", bucket="b", key="k", compression="none")
    segment = Segment(header, MemoryBody())
    journal = MemoryJournal(board)
    journal.append([Run(segment, 1, b"1\n2\n", 2), Run(segment, 3, b"3\n", 1)])
    assert list(segment.body.read()) == [b"1\n2\n", b"3\n"]
    assert (segment.lines, segment.size, board[Field.ACCEPTED]) == (3, 6, 3)
    journal.seal(segment)
    assert segment.frozen.is_set()
    journal.stop()
