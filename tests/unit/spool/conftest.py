"""Fixtures of the spool's tests."""

from pathlib import Path

import pytest

from tests.support.doubles import BadDisk
from tests.unit.spool.commit.segments import Segments
from tests.unit.spool.samples import NAME
from workers.spool.committer import Committer
from workers.spool.counters import Counters
from workers.spool.disk_store import DiskStore
from workers.spool.segment_file import OPEN, SegmentFile
from workers.spool.spool import Spool


@pytest.fixture
def disk() -> BadDisk:
    """Make a disk that works until a test makes it fail."""
    return BadDisk()


@pytest.fixture
def file(tmp_path: Path, disk: BadDisk) -> SegmentFile:
    """Make a segment's file; nothing is on the disk yet."""
    return SegmentFile(tmp_path / (NAME + OPEN), disk=disk)


@pytest.fixture
def counters(tmp_path: Path) -> Counters:
    """Make counters of zero."""
    return Counters.create(tmp_path / "ledger")


@pytest.fixture
def store(tmp_path: Path, disk: BadDisk) -> DiskStore:
    """Make a store on that disk, to which more than two files are many."""
    store = DiskStore(Spool(tmp_path / "spool", disk=disk), max_bytes=1 << 30, few=2)
    disk.log.clear()
    return store


@pytest.fixture
def committer(store: DiskStore) -> Committer:
    """Make a committer whose groups are committed when `step` is called."""
    return Committer(store)


@pytest.fixture
def segments(store: DiskStore, disk: BadDisk) -> Segments:
    """Make segments in that store."""
    return Segments(store, disk)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """Make a spool."""
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    return spool
