"""A segment's header and lines, its file as another process finds it, and a segment in memory."""

from pathlib import Path

from workers.segments.naming import segment_name
from workers.segments.segment import Header, MemoryBody, Segment
from workers.spool.disk import Disk
from workers.spool.segment_file import SegmentFile

NAME = segment_name(1)
HEADER = Header(name=NAME, stream="s", bucket="b", key="k", compression="gzip")
RUNS = [b'{"a":1}\n', b'{"b":2}\n{"b":3}\n', b'{"c":4}\n']
NUMBERED = list(zip((1, 2, 4), RUNS, strict=True))
LINES, SIZE = 4, sum(map(len, RUNS))


def reopened(path: Path) -> SegmentFile:
    """Return the file as another process finds it."""
    return SegmentFile(path, disk=Disk())


def memory_segment(created: int = 1, *, lines: int = 2) -> Segment:
    """Make a frozen segment in memory."""
    name = segment_name(created)
    header = Header(name=name, stream="s", bucket="b", key="k", compression="none")
    segment = Segment(header, MemoryBody())
    assert isinstance(segment.body, MemoryBody)
    segment.body.chunks += [b"{}\n"] * lines
    segment.lines, segment.size = lines, 3 * lines
    return segment
