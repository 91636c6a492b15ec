"""Fixtures of the spool's tests."""

from pathlib import Path

import pytest

from tests.support.doubles import BadDisk
from tests.unit.spool.samples import NAME
from workers.spool.counters import Counters
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
def spool(tmp_path: Path) -> Spool:
    """Make a spool."""
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    return spool
