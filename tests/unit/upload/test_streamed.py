"""Segments whose objects do not fit into memory, or that hold other lines than were counted."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.bench import Bench, balance
from tests.support.doubles import DictBucket
from tests.unit.upload.samples import lines_of
from workers.errors import StoreUnavailable
from workers.spool.segment_file import SegmentFile
from workers.upload.body import BodyStream, ObjectBody
from workers.upload.s3 import PutAnswer
from workers.upload.verified_put import VerifiedPut


class HttpBucket(DictBucket):
    """A bucket that reads a body as an HTTP client does, and hides what reading it raises."""

    def put(self, bucket: str, key: str, body: ObjectBody, **given: Any) -> PutAnswer:
        stream = body.open()
        assert isinstance(stream, BodyStream)
        try:
            stream.read()
        except Exception as error:
            raise StoreUnavailable(f"cannot send: {error}", reason="network") from error
        return super().put(bucket, key, body, **given)


@pytest.fixture
def streaming(bench: Bench) -> Bench:
    """Make a bench that keeps no body in memory."""
    bench.bucket = HttpBucket()
    bench.uploader._objects = VerifiedPut(bench.bucket)
    bench.uploader._memory_bytes = 0
    return bench


def test_a_body_that_is_not_kept_is_stored_whole(streaming: Bench) -> None:
    """It is compressed again while it is sent; the object is as any other."""
    [receipt] = streaming.accept(b'{"n":1}', b'{"n":2}')
    streaming.upload_all()
    assert lines_of(streaming.bucket, receipt) == [b'{"n":1}', b'{"n":2}']
    assert balance(streaming.totals()) == (2, 2, 0, 0)


def test_a_disk_that_fails_while_a_body_is_sent_is_not_s3_s_failure(
    streaming: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What reading raised is raised, not what the HTTP client made of it; later all is stored."""
    [receipt] = streaming.accept(b'{"n":1}')
    streaming.age()
    job = streaming.next_job()
    read, reads = SegmentFile.read, []

    def fail_at_second(file: SegmentFile) -> Iterator[bytes]:
        reads.append(file)
        if len(reads) == 2:
            raise OSError(5, "Input/output error")
        return read(file)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentFile, "read", fail_at_second)
        with pytest.raises(OSError, match="Input/output"):
            streaming.uploader.upload(job)
    streaming.uploader.upload(job)
    assert lines_of(streaming.bucket, receipt) == [b'{"n":1}']
    assert balance(streaming.totals()) == (1, 1, 0, 0)


@pytest.mark.parametrize(("lines", "size", "dead"), [(0, 1, 0), (2, 9, 2)])
def test_lines_that_are_missing_are_damage(
    bench: Bench, bucket: DictBucket, lines: int, size: int, dead: int
) -> None:
    """A file that holds less than was accepted is kept for a person; what is there is stored."""
    [receipt] = bench.accept(b'{"n":1}', b'{"n":2}')
    bench.age()
    job = bench.next_job()
    job.segment.lines += lines
    job.segment.size += size
    assert isinstance(job.segment.body, SegmentFile)
    job.segment.body._sealed_lines = None
    bench.uploader.upload(job)
    assert lines_of(bucket, receipt)[:2] == [b'{"n":1}', b'{"n":2}']
    assert len(list((bench.spool.root / "quarantine").glob("*.ready"))) == 1
    lost = bucket.objects[receipt.header.key][1].get("lost-lines")
    assert lost == (f"3-{2 + dead}" if dead else None)
    assert balance(bench.totals())[1] == 2
