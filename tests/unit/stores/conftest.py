"""A store on a disk that can fail, and the committer in front of it."""

from pathlib import Path

import pytest

from tests.support.doubles import BadDisk
from tests.unit.stores.segments import Segments
from workers.spool.spool import Spool
from workers.stores.committer import Committer
from workers.stores.disk_store import DiskStore


@pytest.fixture
def disk() -> BadDisk:
    """Make a disk that works until a test makes it fail."""
    return BadDisk()


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
