"""Damage to a segment's file that is found late, or again: nothing stored is called dead."""

import pytest

from tests.support.bench import Bench, balance
from tests.support.doubles import DictBucket
from workers.dispatch.jobs import Job, Parked
from workers.errors import StoreUnavailable
from workers.spool.segment_file import SegmentFile


@pytest.fixture
def bench(bucket: DictBucket, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Make parts of a pipeline on a disk and a bucket."""
    return Bench(tmp_path_factory.mktemp("spool"), bucket=bucket)


@pytest.fixture
def bucket() -> DictBucket:
    """Make a bucket."""
    return DictBucket()


def sealed(bench: Bench) -> Job:
    """Accept two payloads in two frames, and seal their segment."""
    bench.accept(b'{"n":1}')
    bench.accept(b'{"n":2}')
    bench.age()
    job = bench.next_job()
    job.segment.frozen.wait(10)
    return job


def damage(job: Job, text: bytes = b'"n":2') -> None:
    """Flip a bit of the segment's file."""
    body = job.segment.body
    assert isinstance(body, SegmentFile)
    body.make_ready()
    content = body.path.read_bytes()
    at = content.index(text)
    body.path.write_bytes(content[:at] + b"#" + content[at + 1 :])


def test_what_was_stored_whole_stays_stored(bench: Bench, bucket: DictBucket) -> None:
    """An object of an earlier PUT, whose file was damaged since, is ours: nothing is dead."""
    job = sealed(bench)
    job.segment.body.make_ready()
    packed, lost = bench.uploader._pack(job)
    bench.uploader._put_object(job, packed, lost)
    before = dict(bucket.objects)
    damage(job)
    bench.uploader.upload(job)
    assert bucket.objects == before
    assert balance(bench.totals()) == (2, 2, 0, 0)


def test_a_damaged_segment_is_put_into_quarantine_once(bench: Bench, bucket: DictBucket) -> None:
    """Each further attempt finds it there, and writes nothing."""
    job = sealed(bench)
    damage(job)
    bucket.trouble.extend(StoreUnavailable("away", reason="network") for _ in range(3))
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            bench.uploader.upload(job)
    kept = list((bench.spool.root / "quarantine").glob("*.json"))
    written = [path.stat().st_mtime_ns for path in kept]
    with pytest.raises(StoreUnavailable):
        bench.uploader.upload(job)
    assert [path.stat().st_mtime_ns for path in kept] == written
    assert len(kept) == 1


def parked(bench: Bench, job: Job) -> Parked:
    """Park a job for a reason of its own, and take it out again as the feeder does."""
    assert bench.backlog.admit(job)
    bench.backlog.failed(job, StoreUnavailable("other", reason="other"))
    bench.now += 60
    found = bench.backlog.next()
    assert found is not None
    return found


def test_a_parked_file_whose_header_rots_is_dead(bench: Bench) -> None:
    """It goes into quarantine and is counted dead, and does not fail without end."""
    job = sealed(bench)
    job.segment.body.make_ready()
    found = parked(bench, job)
    damage(job, b'"stream"')
    assert bench.store.load(found) is None
    assert balance(bench.totals()) == (2, 0, 0, 2)
    assert list((bench.spool.root / "quarantine").glob("*.ready"))


def test_a_parked_file_of_an_unknown_format_is_not_dropped(bench: Bench) -> None:
    """Whatever is wrong with a file, its job stays in the backlog."""
    job = sealed(bench)
    job.segment.body.make_ready()
    assert bench.backlog.admit(job)
    bench.backlog.failed(job, StoreUnavailable("other", reason="other"))
    body = job.segment.body
    assert isinstance(body, SegmentFile)
    content = body.path.read_bytes()
    body.path.write_bytes(content.replace(b"BBh1", b"BBh2", 1))
    bench.now += 60
    bench.feed()
    assert not bench.backlog.is_empty
    body.path.write_bytes(content)
    bench.now += 60
    bench.upload_all()
    assert balance(bench.totals()) == (2, 2, 0, 0)
