"""A process that cannot have its directory in the spool runs, refuses, uploads and tries again."""

import errno
import os
from typing import Any

import pytest

from tests.integration.pipeline.samples import Leave, Start, accept, stored, until, until_stored
from tests.support.bench import balance
from tests.support.s3 import FakeS3
from workers.errors import NotDurable
from workers.intake import feeder
from workers.spool.counters import Field
from workers.spool.spool import Spool


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Let no process make its directory while the list has something in it."""
    monkeypatch.setattr(feeder, "CHECK_SECONDS", 0.02)
    create = Spool.create_process_spool
    full = [True]

    def refuse(self: Spool) -> Any:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return create(self)

    monkeypatch.setattr(Spool, "create_process_spool", refuse)
    return full


@pytest.mark.parametrize("durability", ["disk", "memory"])
def test_it_refuses_until_it_has_one(
    start: Start, s3: FakeS3, full: list[bool], durability: str
) -> None:
    """Nothing is lost of what was counted before, and then all works as ever."""
    pipeline = start(DURABILITY=durability)
    with pytest.raises(NotDurable, match="No space"):
        accept(pipeline, b"{}")
    assert "No space" in str(pipeline.refusal())
    pipeline.counters.add(Field.REQUESTS_503)
    full.clear()
    until(lambda: pipeline.refusal() is None, "a directory")
    accept(pipeline, b"{}")
    until_stored(pipeline, 1)
    assert pipeline.totals()[Field.REQUESTS_503] == 1
    assert pipeline.totals()[Field.IDLE_WORKERS] <= 3
    pipeline.stop()
    assert balance(pipeline.totals()) == (1, 1, 0, 0)
    assert stored(s3) == [b"{}"]


def test_it_stores_what_others_left(
    start: Start, leave_behind: Leave, s3: FakeS3, full: list[bool]
) -> None:
    """The backlog leaves a full disk, which is what frees it."""
    full.clear()
    leave_behind(5)
    full.append(True)
    pipeline = start()
    until_stored(pipeline, 5)
    assert len(stored(s3)) == 5
    pipeline.stop()


def test_it_stops_without_one(start: Start, full: list[bool]) -> None:
    """A stop before there was ever a directory ends every thread."""
    assert full
    pipeline = start()
    pipeline.stop()
    assert pipeline._threads.alive == []
