"""The uploader: a job becomes exactly one object, with every answer of S3."""

import pytest

from tests.support.bench import Bench, MakeBench, balance
from tests.support.doubles import BadDisk, DictBucket
from tests.unit.upload.samples import AWAY, letters, lines_of
from workers.errors import (
    Abandoned,
    ObjectExists,
    StoreUnavailable,
)
from workers.segments import compressors
from workers.spool.counters import Field
from workers.spool.segment_file import SegmentFile
from workers.upload.verified_put import VerifiedPut


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_a_job_becomes_an_object(
    make_bench: MakeBench, bucket: DictBucket, compression: str
) -> None:
    """Its lines in order, its encoding set, its metadata says whose it is; the file is gone."""
    bench = make_bench(COMPRESSION=compression)
    receipt = bench.accept(b'{"n":1}', b'{"n":2}')[0]
    bench.accept(b'{"n":3}')
    bench.upload_all()
    assert lines_of(bucket, receipt) == [b'{"n":1}', b'{"n":2}', b'{"n":3}']
    body, metadata, encoding = bucket.objects[receipt.header.key]
    assert encoding == (None if compression == "none" else compression)
    assert metadata["segment"] == receipt.header.name
    assert (metadata["payloads"], metadata["size"]) == ("3", "24")
    assert metadata["stored-size"] == str(len(body))
    assert bench.process_spool.segment_files() == []
    assert balance(bench.totals()) == (3, 3, 0, 0)
    totals = bench.totals()
    assert (totals[Field.STORED_OBJECTS], totals[Field.STORED_BYTES]) == (1, len(body))
    assert sum(totals.put_buckets) == 1
    assert bench.done == [1]


def test_a_segment_without_lines_is_no_object(make_bench: MakeBench, bucket: DictBucket) -> None:
    """Where the disk took nothing there is nothing to store, and its room is given back."""
    disk = BadDisk()
    bench = make_bench(disk)
    disk.full = True
    with pytest.raises(Exception, match="No space"):
        bench.accept(b"{}")
    disk.full = False
    bench.upload_all()
    assert (bucket.puts, bucket.objects) == (0, {})
    assert bench.process_spool.empty
    assert bench.process_spool.counters[Field.HELD_BYTES] == 0


def test_what_may_pass_is_tried_again(bench: Bench, bucket: DictBucket) -> None:
    """Outages are counted by their reason and waited through, longer each time."""
    bucket.trouble.extend([AWAY, StoreUnavailable("no", reason="denied"), AWAY, None])
    receipt = bench.accept(b"{}")[0]
    bench.upload_all()
    assert lines_of(bucket, receipt) == [b"{}"]
    assert bench.retries.attempts == [1, 2, 3]
    assert bench.totals()[Field.PUT_FAILURES_THROTTLED] == 2
    assert bench.totals()[Field.PUT_FAILURES_DENIED] == 1


def test_a_lost_answer_is_found_out(bench: Bench, bucket: DictBucket) -> None:
    """The PUT took effect and its answer was lost: the body is not sent again."""
    bucket.lost_answers.add(1)
    bench.accept(b"{}")
    bench.upload_all()
    assert bucket.puts == 1
    assert balance(bench.totals()) == (1, 1, 0, 0)
    assert bench.totals()[Field.CONFLICTS] == 0
    assert letters(bench) == []


def test_another_version_s_compression_is_still_ours(
    make_bench: MakeBench, bucket: DictBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines are compared and not bytes: an upgrade between two tries may compress otherwise."""
    bench, upgraded = make_bench(), make_bench()
    bucket.lost_answers.add(1)
    bench.accept(*[b'{"n":1}'] * 100)
    bench.retries.limit = 0
    with pytest.raises(Abandoned):
        bench.upload_all()
    bench.die()
    monkeypatch.setattr(compressors, "GZIP_LEVEL", 3)
    upgraded.adopt()
    upgraded.upload_all()
    assert balance(upgraded.totals()) == (100, 100, 0, 0)
    assert upgraded.totals()[Field.CONFLICTS] == 1


def test_half_a_body_is_replaced(bench: Bench, bucket: DictBucket) -> None:
    """A store that kept half a body, and called it an object, is made to keep the whole one."""
    bucket.lost_answers.add(1)
    bucket.keeps_half.add(1)
    receipt = bench.accept(*[b'{"n":1}'] * 50)[0]
    bench.upload_all()
    assert lines_of(bucket, receipt) == [b'{"n":1}'] * 50
    assert balance(bench.totals()) == (50, 50, 0, 0)


def test_taken_then_gone_is_tried_again(bench: Bench, bucket: DictBucket) -> None:
    """An object that was deleted between the 412 and the look is put again."""
    bucket.trouble.extend([ObjectExists("taken"), None])
    receipt = bench.accept(b"{}")[0]
    bench.upload_all()
    assert lines_of(bucket, receipt) == [b"{}"]
    assert bench.totals()[Field.PUT_FAILURES_OTHER] == 1


def test_without_conditions_a_second_put_is_right_too(make_bench: MakeBench) -> None:
    """For stores that lack `If-None-Match`, the same bytes are simply put again."""
    plain = DictBucket(conditional=False)
    plain.lost_answers.add(1)
    bench = make_bench()
    bench.uploader._objects = VerifiedPut(plain)
    receipt = bench.accept(b"{}")[0]
    bench.upload_all()
    assert lines_of(plain, receipt) == [b"{}"]
    assert balance(bench.totals()) == (1, 1, 0, 0)


def test_a_failed_attempt_leaves_the_file(bench: Bench, bucket: DictBucket) -> None:
    """A job whose attempt failed keeps its file, for another attempt or the next start."""
    bucket.trouble.append(AWAY)
    bench.accept(b"{}")
    bench.age()
    with pytest.raises(StoreUnavailable):
        bench.uploader.upload(bench.next_job())
    assert len(bench.process_spool.segment_files()) == 1
    assert balance(bench.totals()) == (1, 0, 1, 0)
    assert bucket.puts == 1


def test_what_could_not_be_frozen_is_not_uploaded(make_bench: MakeBench) -> None:
    """A key's content never changes: a file that may still differ after a restart has no object."""
    disk = BadDisk()
    bench = make_bench(disk)
    bench.accept(b"{}")
    disk.failing = True
    bench.age()
    with pytest.raises(Abandoned, match="frozen"):
        bench.uploader.upload(bench.next_job())
    assert bench.bucket.puts == 0
    assert len(bench.process_spool.segment_files()) == 1


def test_a_file_that_cannot_be_read_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad sector does not hold a worker, and one that can be read again is no loss."""

    def fail(_: object) -> None:
        raise OSError(5, "Input/output error")

    bench.accept(b"{}")
    bench.age()
    job = bench.next_job()
    with monkeypatch.context() as patch:
        patch.setattr(SegmentFile, "read", fail)
        with pytest.raises(OSError, match="Input/output"):
            bench.uploader.upload(job)
    assert balance(bench.totals()) == (1, 0, 1, 0)
    bench.uploader.upload(job)
    assert balance(bench.totals()) == (1, 1, 0, 0)
