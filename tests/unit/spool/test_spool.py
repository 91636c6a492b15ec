"""The spool's directory, and the directories of processes in it."""

import fcntl
import os
from pathlib import Path

import pytest

from tests.support.doubles import BadDisk
from tests.unit.spool.samples import memory_segment
from workers.errors import SpoolError
from workers.spool.counters import Field
from workers.spool.segment_file import READY, SegmentFile
from workers.spool.spool import DEAD, QUARANTINE, TEMPORARY, Spool


def test_a_spool_is_made_and_can_be_made_again(tmp_path: Path) -> None:
    """The directory, its parents and its parts are made; a second start changes nothing."""
    spool = Spool(tmp_path / "a" / "b")
    spool.prepare()
    spool.prepare()
    assert sorted(os.listdir(spool.root)) == [DEAD, "lock", QUARANTINE]


def test_a_spool_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """What cannot be a directory is named, with the reason."""
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match=r"SPOOL_DIR .*file.* cannot be used: File exists"):
        Spool(tmp_path / "file").prepare()
    with pytest.raises(SpoolError, match="Not a directory"):
        Spool(tmp_path / "file" / "below").prepare()


def test_a_spool_that_cannot_lock_is_refused(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks would let two processes own one directory."""

    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(SpoolError, match="No locks available"):
        spool.prepare()


def test_a_process_spool_is_locked_and_durable_at_once(tmp_path: Path) -> None:
    """No process adopts a directory in the making; no power cut takes one that is there."""
    disk = BadDisk()
    spool = Spool(tmp_path / "spool", disk=disk)
    spool.prepare()
    disk.log.clear()
    process_spool = spool.create_process_spool()
    assert disk.log == ["sync_names", "sync_names"]
    assert list(spool.adopt_orphans()) == []
    assert not list(spool.root.glob(TEMPORARY + "*"))
    process_spool.close()


def test_only_the_dead_are_adopted(spool: Spool) -> None:
    """A directory whose process lives stays its own; one whose lock is free is taken, once."""
    living, dead = spool.create_process_spool(), spool.create_process_spool()
    dead.close()
    [adopted] = spool.adopt_orphans()
    assert adopted.path == dead.path
    assert list(spool.adopt_orphans()) == []
    adopted.close()
    living.close()
    assert {process_spool.path for process_spool in spool.adopt_orphans()} == {
        living.path,
        dead.path,
    }


def test_unfinished_process_spools_are_removed(spool: Spool) -> None:
    """A kill while a directory was being made leaves a part that the next look removes."""
    process_spool = spool.create_process_spool()
    for name in ("1", "2"):
        (spool.root / (TEMPORARY + name)).mkdir()
    (spool.root / (TEMPORARY + "1") / "lock").touch()
    assert list(spool.adopt_orphans()) == []
    assert not list(spool.root.glob(TEMPORARY + "*"))
    process_spool.close()


def test_the_oldest_unstored_is_published(spool: Spool) -> None:
    """The counters say when the oldest segment that is not stored was created."""
    process_spool = spool.create_process_spool()
    old, new = memory_segment(1_000), memory_segment(2_000)
    process_spool.hold(old)
    process_spool.hold(new)
    assert process_spool.counters[Field.OLDEST_MICROSECONDS] == 1_000
    process_spool.finish(old, stored=2)
    assert process_spool.counters[Field.OLDEST_MICROSECONDS] == 2_000
    assert process_spool.unfinished() == [new]
    assert process_spool.held(new.name) is new
    process_spool.finish(new, dead=2)
    assert process_spool.counters[Field.OLDEST_MICROSECONDS] == 0
    assert process_spool.held(new.name) is None
    assert process_spool.empty
    process_spool.close()


def test_finishing_gives_the_budget_back(spool: Spool) -> None:
    """A segment's lines go, and with them what they took of the budget."""
    process_spool = spool.create_process_spool()
    segment = memory_segment()
    segment.held_bytes = 100
    process_spool.counters[Field.HELD_BYTES] = 150
    process_spool.counters.accept(payloads=2, size=6)
    process_spool.hold(segment)
    process_spool.finish(segment, stored=2)
    assert list(segment.body.read()) == []
    assert process_spool.counters[Field.HELD_BYTES] == 50
    assert process_spool.counters[Field.STORED] == 2
    process_spool.close()


def test_memory_is_written_down_at_a_stop(spool: Spool) -> None:
    """What memory mode has left becomes a file like any other, once, and only if it is needed."""
    process_spool = spool.create_process_spool()
    kept, stored = memory_segment(1), memory_segment(2)
    process_spool.hold(kept)
    process_spool.hold(stored)
    process_spool.finish(stored)
    for segment in (kept, kept, stored):
        process_spool.keep(segment)
    [file] = process_spool.segment_files()
    assert (file.path.name, file.read_seal()) == (kept.name + READY, (2, 6))
    assert file.read_header() == kept.header
    # A frame each: they are read back one at a time.
    assert list(file.read()) == [b"{}\n", b"{}\n"]
    assert isinstance(kept.body, SegmentFile)
    process_spool.close()


def test_what_cannot_be_written_down_can_be_tried_again(tmp_path: Path) -> None:
    """With the disk full at a stop the lines stay in memory, and no half file is left."""
    disk = BadDisk()
    spool = Spool(tmp_path / "spool", disk=disk)
    spool.prepare()
    process_spool = spool.create_process_spool()
    segment = memory_segment()
    process_spool.hold(segment)
    disk.full = True
    with pytest.raises(OSError, match="No space"):
        process_spool.keep(segment)
    assert process_spool.segment_files() == []
    assert list(segment.body.read()) == [b"{}\n"] * 2
    disk.full = False
    process_spool.keep(segment)
    assert [file.read_seal() for file in process_spool.segment_files()] == [(2, 6)]
    process_spool.close()
