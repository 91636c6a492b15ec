"""A pipeline with all its threads on a disk that can fail."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.disk.faults import MAX_WAIT_SECONDS, FaultyDisk
from tests.support.bench import settings_for
from tests.support.doubles import DictBucket
from workers.pipeline import Pipeline


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FaultyDisk:
    """Make the disk of every spool that is not given another."""
    disk = FaultyDisk()
    monkeypatch.setattr("workers.spool.spool.Disk", lambda: disk)
    return disk


@pytest.fixture
def pipeline(tmp_path: Path, bucket: DictBucket, disk: FaultyDisk) -> Iterator[Pipeline]:
    """Run a pipeline with all its threads on that disk."""
    del disk
    settings = settings_for(tmp_path / "spool", MAX_WORKERS=2, DRAIN_SECONDS=MAX_WAIT_SECONDS)
    pipeline = Pipeline(settings, bucket=bucket)
    pipeline.start()
    yield pipeline
    pipeline.stop()
