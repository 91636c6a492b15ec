"""The spool: homes that belong to somebody, what the dead left, and books that are never lost."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import BadDisk, Bench, DictBucket, balance
from workers.errors import ObjectRejected, SpoolError
from workers.segments.naming import created_microseconds, segment_name
from workers.segments.segment import Header, MemoryBody, Segment
from workers.spool.counters import Counters, Field, Totals
from workers.spool.process_spool import ProcessSpool
from workers.spool.recovery import reconcile
from workers.spool.segment_file import READY, SegmentFile
from workers.spool.spool import DEAD, QUARANTINE, TEMPORARY, Spool

MakeBench = Callable[..., Bench]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """Make a spool."""
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    return spool


def memory_segment(created: int = 1, *, lines: int = 2) -> Segment:
    """Make a frozen segment in memory."""
    name = segment_name(created)
    header = Header(name=name, stream="s", bucket="b", key="k", compression="none")
    segment = Segment(header, MemoryBody())
    assert isinstance(segment.body, MemoryBody)
    segment.body.chunks += [b"{}\n"] * lines
    segment.lines, segment.size = lines, 3 * lines
    return segment


# --- The directory --------------------------------------------------------------------------------


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
    """A file system without locks would let two processes own one home."""

    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(SpoolError, match="No locks available"):
        spool.prepare()


# --- Homes ----------------------------------------------------------------------------------------


def test_a_home_is_locked_and_lasting_from_its_first_moment(tmp_path: Path) -> None:
    """No process adopts a home that is being made, and no power cut takes a home that is there."""
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
    """A home whose process lives stays its own; one whose lock is free is taken, once."""
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


def test_homes_that_were_never_finished_are_swept(spool: Spool) -> None:
    """A kill while a home was being made leaves a directory that the next look removes."""
    process_spool = spool.create_process_spool()
    for name in ("1", "2"):
        (spool.root / (TEMPORARY + name)).mkdir()
    (spool.root / (TEMPORARY + "1") / "lock").touch()
    assert list(spool.adopt_orphans()) == []
    assert not list(spool.root.glob(TEMPORARY + "*"))
    process_spool.close()


def test_the_oldest_unstored_is_published(spool: Spool) -> None:
    """The board tells when the oldest segment that is not stored was created."""
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
    assert b"".join(file.read()) == b"{}\n{}\n"
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


# --- The books ------------------------------------------------------------------------------------


def give_up(process_spool: ProcessSpool, *, accepted: int, stored: int) -> None:
    """Count something in a home."""
    process_spool.counters.accept(payloads=accepted, size=accepted)
    process_spool.counters[Field.STORED] = stored
    for gauge in (Field.QUEUE_DEPTH, Field.IDLE_WORKERS, Field.HELD_BYTES):
        process_spool.counters[gauge] = 99


def test_totals_outlive_their_homes(spool: Spool) -> None:
    """Retired or alive, everything counts once; gauges go with their process."""
    process_spools = [spool.create_process_spool() for _ in range(3)]
    for process_spool in process_spools:
        give_up(process_spool, accepted=10, stored=10)
    before = balance(spool.totals())
    for process_spool in process_spools[:2]:
        spool.retire(process_spool)
    assert balance(spool.totals()) == before == (30, 30, 0, 0)
    assert spool.totals()[Field.QUEUE_DEPTH] == 99
    assert [path for path in spool.root.iterdir() if len(path.name) == 32] == [
        process_spools[2].path
    ]
    process_spools[2].close()


def test_a_closed_home_has_no_idle_workers(spool: Spool) -> None:
    """What a process gave up still counts; what only a running process has does not."""
    process_spool = spool.create_process_spool()
    give_up(process_spool, accepted=10, stored=4)
    process_spool.close()
    totals = spool.totals()
    assert balance(totals) == (10, 4, 6, 0)
    assert totals[Field.QUEUE_DEPTH] == totals[Field.IDLE_WORKERS] == 0
    assert totals[Field.HELD_BYTES] == 99


def stay(*_: object, **__: object) -> None:
    """Remove nothing: the process was killed just before it would have."""


def test_killed_while_retiring_nothing_counts_twice(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted but not removed, a home is not counted again, and goes with the next one."""
    first, second = spool.create_process_spool(), spool.create_process_spool()
    give_up(first, accepted=10, stored=10)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", stay)
        spool.retire(first)
    assert first.path.exists()
    assert spool.totals()[Field.ACCEPTED] == 10
    for adopted in spool.adopt_orphans():
        spool.retire(adopted)
    assert spool.totals()[Field.ACCEPTED] == 10
    spool.retire(second)
    assert spool.totals()[Field.ACCEPTED] == 10
    assert not first.path.exists()


def test_a_home_with_segments_is_not_retired(make_bench: MakeBench) -> None:
    """Whatever the reason, files of payloads are never removed along with their home."""
    bench, other = make_bench(), make_bench()
    bench.accept(b"{}")
    bench.spool.retire(bench.process_spool)
    assert balance(other.totals()) == (1, 0, 1, 0)
    assert len(other.adopt()) == 1


@pytest.mark.parametrize("left", [None, 0, 100])
def test_a_ledger_that_a_power_cut_took(spool: Spool, left: int | None) -> None:
    """A home without its ledger, or with a short one, stops neither the totals nor adoption."""
    process_spool = spool.create_process_spool()
    process_spool.close()
    ledger = process_spool.path / "ledger"
    if left is None:
        ledger.unlink()
    else:
        ledger.write_bytes(bytes(left))
    assert balance(spool.totals()) == (0, 0, 0, 0)
    [adopted] = spool.adopt_orphans()
    assert adopted.path == process_spool.path
    adopted.close()


@pytest.mark.parametrize(
    ("accepted", "stored", "found", "durable", "damaged", "after"),
    [
        (10, 4, 6, True, False, (10, 4, 0)),
        # Written and synced, but killed before it was counted.
        (10, 4, 7, True, False, (11, 4, 0)),
        # A power cut took counters back: what is gone from a disk is stored.
        (10, 4, 5, True, False, (10, 5, 0)),
        # Memory died with its process.
        (10, 4, 0, False, False, (10, 4, 6)),
        # Damage took it.
        (10, 4, 5, True, True, (10, 4, 1)),
    ],
)
def test_the_books_are_made_to_agree(
    tmp_path: Path,
    *,
    accepted: int,
    stored: int,
    found: int,
    durable: bool,
    damaged: bool,
    after: tuple[int, int, int],
) -> None:
    """Whatever a dead process had not counted yet, accepted = stored + pending + dead."""
    counters = Counters.create(tmp_path / "ledger")
    counters.accept(payloads=accepted, size=1)
    counters[Field.STORED] = stored
    counters[Field.DURABLE] = durable
    lost = reconcile(counters, found=found, numbers=frozenset(), damaged=damaged)
    assert (counters[Field.ACCEPTED], counters[Field.STORED], counters[Field.DEAD]) == after
    assert lost == after[2]
    assert Totals([counters.snapshot()]).pending == found
    counters.close()


# --- What the dead left ---------------------------------------------------------------------------


def test_a_dead_process_s_segments_go_up(make_bench: MakeBench, bucket: DictBucket) -> None:
    """Killed with open segments, a process loses nothing: another one stores them, once."""
    dead, living = make_bench(COMPRESSION="none"), make_bench()
    dead.accept(b'{"a":1}', b'{"a":2}')
    dead.accept(b'{"b":1}', stream="t")
    keys = [receipt.header.key for receipt in dead.accept(b'{"a":3}')]
    dead.die()
    assert living.totals().pending == 4
    [process_spool] = living.adopt()
    assert process_spool.counters[Field.OLDEST_MICROSECONDS] == created_microseconds(
        min(file.path.stem for file in process_spool.segment_files())
    )
    living.upload_all()
    assert balance(living.totals()) == (4, 4, 0, 0)
    assert bucket.objects[keys[0]][0] == b'{"a":1}\n{"a":2}\n{"a":3}\n'
    assert len(bucket.objects) == 2
    assert living.adoption.process_spools == []
    assert not process_spool.path.exists()


def test_half_of_the_queue_is_left_for_what_comes_in(make_bench: MakeBench) -> None:
    """A backlog is fed only while the queue is less than half full."""
    dead, living = make_bench(OBJECT_MAX_PAYLOADS=1), make_bench(MAX_QUEUE=8)
    for number in range(10):
        dead.accept(b'{"n":%d}' % number)
    dead.die()
    [process_spool] = living.adopt()
    living.adoption.feed()
    living.adoption.feed()
    assert living.jobs.qsize() == 4
    assert len(process_spool.backlog) == 6
    names = [job.segment.name for job in (living.next_job() for _ in range(4))]
    assert names == sorted(names)
    assert all(name < file.path.stem for name in names for file in process_spool.backlog)


def test_the_oldest_go_first_whoever_left_them(make_bench: MakeBench) -> None:
    """With several dead processes their segments are taken in the order of creation."""
    dead = [make_bench(OBJECT_MAX_PAYLOADS=1) for _ in range(3)]
    names = [bench.accept(b"{}")[0].header.name for _ in range(4) for bench in dead]
    for bench in dead:
        bench.die()
    living = make_bench()
    living.adopt()
    living.adoption.feed()
    assert [living.next_job().segment.name for _ in range(12)] == names


def test_a_file_that_cannot_be_read_holds_up_no_other(
    make_bench: MakeBench, bucket: DictBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad sector in one home does not keep the others' payloads from S3."""
    sick, well, living = make_bench(), make_bench(), make_bench()
    sick.accept(b"{}")
    key = well.accept(b"{}")[0].header.key
    sick.die()
    well.die()
    living.adopt()
    read_seal = SegmentFile.read_seal

    def fail(self: SegmentFile) -> tuple[int, int] | None:
        if self.path.parent == sick.process_spool.path:
            raise OSError(5, "Input/output error")
        return read_seal(self)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentFile, "read_seal", fail)
        living.upload_all()
    assert list(bucket.objects) == [key]
    living.upload_all()
    assert balance(living.totals()) == (2, 2, 0, 0)


def test_one_bad_sector_hides_no_other_segment(
    make_bench: MakeBench, bucket: DictBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a home with an unreadable file all others go up; the file stays where it is."""
    dead, living = make_bench(OBJECT_MAX_PAYLOADS=1), make_bench()
    names = [dead.accept(b"{}")[0].header.name for _ in range(3)]
    dead.die()
    read_seal = SegmentFile.read_seal

    def fail(self: SegmentFile) -> tuple[int, int] | None:
        if self.path.stem == names[1]:
            raise OSError(5, "Input/output error")
        return read_seal(self)

    monkeypatch.setattr(SegmentFile, "read_seal", fail)
    living.adopt()
    living.upload_all()
    assert len(bucket.objects) == 2
    assert [path.stem for path in dead.process_spool.path.glob("*.ready")] == [names[1]]
    assert balance(living.totals()) == (3, 2, 0, 1)


def test_a_sealed_file_with_rot_is_counted_once(make_bench: MakeBench, bucket: DictBucket) -> None:
    """Killed between seal and rename, and rotten besides: lost lines are dead once, not twice."""
    dead, living = make_bench(), make_bench()
    for number in range(3):
        dead.accept(b'{"n":%d}' % number)
    dead.age()
    [path] = dead.process_spool.path.glob("*.ready")
    dead.die()
    path.write_bytes(path.read_bytes().replace(b'{"n":1}', b'{"n":?}'))
    path.rename(path.with_suffix(".open"))
    living.adopt()
    living.upload_all()
    assert balance(living.totals()) == (3, 2, 0, 1)
    assert len(bucket.objects) == 1


def test_an_empty_home_is_retired(make_bench: MakeBench) -> None:
    """A process that died idle leaves its figures and nothing else."""
    dead, living = make_bench(), make_bench()
    dead.accept(b"{}")
    dead.upload_all()
    dead.die()
    living.adopt()
    living.adoption.feed()
    assert living.adoption.process_spools == []
    assert not dead.process_spool.path.exists()
    assert balance(living.totals()) == (1, 1, 0, 0)


def test_without_its_header_a_segment_is_quarantined(
    make_bench: MakeBench, bucket: DictBucket
) -> None:
    """Nobody knows where it was to go: it is kept for a person, counted dead, and not guessed."""
    dead, living = make_bench(), make_bench()
    receipt = dead.accept(b'{"a":1}', b'{"a":2}')[0]
    dead.age()
    [path] = dead.process_spool.path.glob("*.ready")
    dead.die()
    data = path.read_bytes()
    path.write_bytes(b"?" + data[1:])
    living.adopt()
    living.upload_all()
    assert bucket.objects == {}
    assert balance(living.totals()) == (2, 0, 0, 2)
    kept = living.spool.root / QUARANTINE / path.name
    assert kept.read_bytes() == b"?" + data[1:]
    note = json.loads(kept.with_suffix(".json").read_bytes())
    assert note == {"segment": receipt.header.name, "reason": "its header cannot be read"}


def test_memory_that_died_is_counted_dead(make_bench: MakeBench) -> None:
    """The books tell what was lost with a process in memory mode."""
    dead, living = make_bench(), make_bench()
    dead.process_spool.counters[Field.DURABLE] = 0
    dead.process_spool.counters.accept(payloads=3, size=9)
    dead.die()
    living.adopt()
    assert balance(living.totals()) == (3, 0, 0, 3)


def test_a_segment_is_found_wherever_it_is(make_bench: MakeBench) -> None:
    """Open, ready or dead: a segment's file is found by its name, in any home."""
    bench, other = make_bench(), make_bench()
    name = bench.accept(b"{}")[0].header.name
    found = [other.spool.find(name)]
    bench.age()
    found.append(other.spool.find(name))
    bench.bucket.trouble.append(ObjectRejected("too large"))
    bench.uploader.upload(bench.next_job())
    found.append(other.spool.find(name))
    assert [path and path.suffix for path in found] == [".open", ".ready", ".json"]
    assert other.spool.find(segment_name(1)) is None
