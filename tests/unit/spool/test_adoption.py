"""What dead processes left: adopted, uploaded, counted once."""

import json

import pytest

from tests.support.bench import MakeBench, balance
from tests.support.doubles import DictBucket
from workers.errors import ObjectRejected
from workers.segments.naming import created_microseconds, segment_name
from workers.spool.counters import Field
from workers.spool.segment_file import SegmentFile
from workers.spool.spool import QUARANTINE


def test_a_dead_process_s_segments_are_uploaded(make_bench: MakeBench, bucket: DictBucket) -> None:
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
    living.feed()
    living.feed()
    assert living.jobs.qsize() == 4
    assert len(process_spool.backlog) == 6
    names = [job.segment.name for job in (living.next_job() for _ in range(4))]
    assert names == sorted(names)
    assert all(name < file.path.stem for name in names for file in process_spool.backlog)


def test_the_oldest_go_first_of_all_that_was_left(make_bench: MakeBench) -> None:
    """With several dead processes their segments are taken in the order of creation."""
    dead = [make_bench(OBJECT_MAX_PAYLOADS=1) for _ in range(3)]
    names = [bench.accept(b"{}")[0].header.name for _ in range(4) for bench in dead]
    for bench in dead:
        bench.die()
    living = make_bench()
    living.adopt()
    living.feed()
    assert [living.next_job().segment.name for _ in range(12)] == names


def test_a_file_that_cannot_be_read_holds_up_no_other(
    make_bench: MakeBench, bucket: DictBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad sector in one process's spool does not keep the others' payloads from S3."""
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
    living.adopt()
    living.upload_all()
    assert balance(living.totals()) == (2, 2, 0, 0)


def test_one_bad_sector_hides_no_other_segment(
    make_bench: MakeBench, bucket: DictBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside an unreadable file all others are uploaded; the file waits, and is counted once."""
    dead, living = make_bench(OBJECT_MAX_PAYLOADS=1), make_bench()
    names = [dead.accept(b"{}")[0].header.name for _ in range(3)]
    dead.die()
    read_seal = SegmentFile.read_seal

    def fail(self: SegmentFile) -> tuple[int, int] | None:
        if self.path.stem == names[1]:
            raise OSError(5, "Input/output error")
        return read_seal(self)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentFile, "read_seal", fail)
        living.adopt()
        living.upload_all()
        assert len(bucket.objects) == 2
        assert [path.stem for path in dead.process_spool.path.glob("*.ready")] == [names[1]]
        assert balance(living.totals()) == (3, 2, 1, 0)
    living.adopt()
    living.upload_all()
    assert balance(living.totals()) == (3, 3, 0, 0)
    assert not dead.process_spool.path.exists()


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


def test_an_empty_spool_is_retired(make_bench: MakeBench) -> None:
    """A process that died idle leaves its figures and nothing else."""
    dead, living = make_bench(), make_bench()
    dead.accept(b"{}")
    dead.upload_all()
    dead.die()
    living.adopt()
    living.feed()
    assert living.adoption.process_spools == []
    assert not dead.process_spool.path.exists()
    assert balance(living.totals()) == (1, 1, 0, 0)


def test_without_its_header_a_segment_is_quarantined(
    make_bench: MakeBench, bucket: DictBucket
) -> None:
    """Its destination is unknown: it is kept for the operator, counted dead, and not guessed."""
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
    """Open, ready or dead: a segment's file is found by its name, in any process's spool."""
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
