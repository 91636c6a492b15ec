"""A file system that turns read-only: refusals with the reason, and back by itself."""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.chaos.disk.faults import stored, where
from tests.support.bench import Bench, balance
from tests.support.doubles import DictBucket, QuickDisk
from workers.errors import NotDurable
from workers.spool.disk import Buffer

pytestmark = pytest.mark.chaos


class ReadOnlyDisk(QuickDisk):
    """A disk that lets nothing be changed while it is told so; syncs still work."""

    def __init__(self) -> None:
        self.read_only = False

    def create(self, path: Path) -> int:
        self._refuse()
        return super().create(path)

    def write_at(self, file: int, buffers: Sequence[Buffer], start: int) -> int:
        self._refuse()
        return super().write_at(file, buffers, start)

    def truncate(self, file: int, length: int) -> None:
        self._refuse()
        super().truncate(file, length)

    def rename(self, old: Path, new: Path) -> None:
        self._refuse()
        super().rename(old, new)

    def unlink(self, path: Path) -> None:
        self._refuse()
        super().unlink(path)

    def _refuse(self) -> None:
        if self.read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.parametrize("stream", ["s", "another"])
def test_a_read_only_disk_refuses_and_comes_back(
    make_bench: Callable[..., Bench], bucket: DictBucket, stream: str
) -> None:
    """Neither a refused write nor a seal ends acceptance; what was answered is stored later."""
    disk = ReadOnlyDisk()
    bench = make_bench(disk)
    told = {where(bench.accept(b'{"n":1}'))[0]: b'{"n":1}'}
    disk.read_only = True
    with pytest.raises(NotDurable, match="Read-only file system"):
        bench.accept(b'{"refused":1}', stream=stream)
    bench.age()
    jobs = [bench.next_job() for _ in range(bench.jobs.qsize())]
    for job in jobs:
        if job.segment.lines:
            with pytest.raises(OSError, match="Read-only file system"):
                bench.uploader.upload(job)
    disk.read_only = False
    bench.store.check()
    told[where(bench.accept(b'{"n":2}'))[0]] = b'{"n":2}'
    for job in jobs:
        bench.upload(job)
    bench.upload_all()
    assert stored(bucket) == told
    assert balance(bench.totals()) == (2, 2, 0, 0)


def test_a_job_whose_file_cannot_be_removed_is_put_once(
    make_bench: Callable[..., Bench], bucket: DictBucket
) -> None:
    """Stored, and then read-only: only the removal is repeated, and it is counted once."""
    disk = ReadOnlyDisk()
    bench = make_bench(disk)
    bench.accept(b'{"n":1}')
    bench.age()
    job = bench.next_job()
    disk.read_only = True
    for _ in range(3):
        with pytest.raises(OSError, match="Read-only file system"):
            bench.uploader.upload(job)
    assert balance(bench.totals()) == (1, 0, 1, 0)
    disk.read_only = False
    bench.upload(job)
    assert bucket.puts == 1
    assert balance(bench.totals()) == (1, 1, 0, 0)
