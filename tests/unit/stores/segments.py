"""Segments on one disk, and how a collection is appended to them."""

from pathlib import Path

from tests.support.doubles import BadDisk
from workers.segments.future import DurabilityFuture, Run
from workers.segments.naming import segment_name
from workers.segments.segment import Header, Segment
from workers.spool.segment_file import SegmentFile
from workers.stores.committer import Committer
from workers.stores.disk_store import DiskStore


class Segments:
    """Makes segments with files on one disk."""

    def __init__(self, store: DiskStore, disk: BadDisk) -> None:
        self.store = store
        self.disk = disk
        self.made = 0

    def new(self) -> Segment:
        """Make one more."""
        self.made += 1
        name = segment_name(self.made)
        header = Header(name=name, stream="s", bucket="b", key="k", compression="none")
        return self.store.create(header)


def append(committer: Committer, *segments: Segment) -> DurabilityFuture:
    """Append one collection, a line to each segment, as the intake does."""
    for segment in segments:
        segment.reserved_lines += 1
    return committer.append([Run(each, each.reserved_lines, b"{}\n", 1) for each in segments])


def settled(future: DurabilityFuture) -> bool:
    """Whether those that wait for the future have been woken."""
    return future.done


def path_of(segment: Segment) -> Path:
    """Return where a segment's file is now."""
    assert isinstance(segment.body, SegmentFile)
    return segment.body.path
