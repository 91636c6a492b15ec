"""Frames that requests share: what is joined, what is not, and what is read of it."""

from pathlib import Path

import pytest

from tests.unit.stores.segments import append, path_of
from workers.segments.future import Run
from workers.segments.naming import segment_name
from workers.segments.segment import Header
from workers.spool import frames
from workers.spool.disk import Disk
from workers.spool.frames import LINES, MAX_JOINED_BYTES, PREFIX_BYTES, join
from workers.spool.segment_file import SegmentFile
from workers.spool.spool import Spool
from workers.stores.committer import Committer
from workers.stores.disk_store import DiskStore

LARGE = b"x" * MAX_JOINED_BYTES + b"\n"


@pytest.mark.parametrize(
    ("bodies", "joined"),
    [
        ([], []),
        ([b"1\n"], [(1, b"1\n")]),
        ([b"1\n", b"2\n3\n", b"4\n"], [(1, b"1\n2\n3\n4\n")]),
        ([LARGE], [(1, LARGE)]),
        ([b"1\n", LARGE, b"3\n", b"4\n"], [(1, b"1\n"), (2, LARGE), (3, b"3\n4\n")]),
        ([LARGE[1:], b"2\n"], [(1, LARGE[1:]), (2, b"2\n")]),
        ([LARGE[3:], b"2\n", b"3\n"], [(1, LARGE[3:] + b"2\n"), (3, b"3\n")]),
    ],
)
def test_runs_are_joined_up_to_a_size(bodies: list[bytes], joined: list[tuple[int, bytes]]) -> None:
    """Every body but a single larger run stays within the bound, and keeps its first line."""
    runs, first = [], 1
    for body in bodies:
        runs.append((first, body))
        first += body.count(b"\n")
    assert list(join(runs)) == joined


def test_requests_of_a_group_share_a_frame(tmp_path: Path) -> None:
    """A group is a frame for each segment; the next group has one of its own; all is read back."""
    store, committer = _journal(tmp_path)
    one, other = store.create(_header(1)), store.create(_header(2))
    for group in (3, 2):
        for _ in range(group):
            append(committer, one, other)
        committer.step()
    for segment in (one, other):
        committer.seal(segment)
        committer.step()
        with path_of(segment).open("rb") as file:
            found = list(frames.read(file, frames.seed(segment.name)))
        lines = [(each.first_line, each.body) for each in found if each.mark == LINES]
        assert lines == [(1, b"{}\n" * 3), (4, b"{}\n" * 2)]
        assert [each.back for each in found[1:3]] == [found[0].end, 0]
        again = SegmentFile(path_of(segment), disk=Disk())
        assert again.read_seal() == (5, 15)
        assert b"".join(again.read()) == b"{}\n" * 5


def test_a_torn_frame_takes_no_half_of_a_request(tmp_path: Path) -> None:
    """A cut anywhere in a shared frame leaves nothing of its requests, and all before it."""
    store, committer = _journal(tmp_path)
    segment = store.create(_header(1))
    for group in ([b"1\n2\n"], [b"3\n", b"4\n5\n"]):
        for body in group:
            count = body.count(b"\n")
            segment.reserved_lines += count
            first = segment.reserved_lines - count + 1
            committer.append([Run(segment, first, body, count)])
        committer.step()
    content = path_of(segment).read_bytes().rstrip(b"\0")
    for torn in range(1, PREFIX_BYTES + len(b"3\n4\n5\n")):
        path = tmp_path / path_of(segment).name
        path.write_bytes(content[:-torn])
        found = SegmentFile(path, disk=Disk()).survey()
        assert (found.lines, found.damaged, found.tail) == (2, False, "short")


def _journal(root: Path) -> tuple[DiskStore, Committer]:
    store = DiskStore(Spool(root / "spool"), max_bytes=1 << 30)
    return store, Committer(store)


def _header(number: int) -> Header:
    name = segment_name(number)
    return Header(name=name, stream=f"s{number}", bucket="b", key="k", compression="none")
