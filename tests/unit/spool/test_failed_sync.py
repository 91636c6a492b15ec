"""After a failed sync: what is in an open file is decided once, by a copy that is synced."""

import errno
import os
from pathlib import Path

import pytest

from tests.support.bench import Bench
from tests.support.doubles import BadDisk, DictBucket
from tests.unit.keys.samples import claim, kill, take
from workers.errors import Abandoned, NotConfirmed
from workers.keys.claim import Claim
from workers.keys.log import KeyLog
from workers.spool.counters import Field
from workers.spool.segment_file import OPEN


@pytest.fixture
def bucket() -> DictBucket:
    """Make a bucket that all processes of a test share."""
    return DictBucket()


@pytest.fixture
def broken(tmp_path: Path, bucket: DictBucket) -> Bench:
    """Make a process that has answered for one request, and whose sync of another failed."""
    disk = BadDisk()
    bench = Bench(tmp_path / "spool", bucket=bucket, disk=disk)
    bench.keys.read()
    take(bench, "kept")
    disk.failing = True
    with pytest.raises(NotConfirmed):
        take(bench, "refused").result()
    return bench


def open_files(bench: Bench) -> list[Path]:
    """Return the files that may still grow."""
    return sorted(bench.process_spool.path.glob(f"*{OPEN}"))


def test_the_next_start_copies_an_open_file(
    broken: Bench, tmp_path: Path, bucket: DictBucket
) -> None:
    """The copy is another file, so that its sync is of all its pages; the keys are as answered."""
    [file] = open_files(broken)
    with file.open("rb") as held:
        kill(broken)
        after = Bench(tmp_path / "spool", bucket=bucket)
        after.keys.read()
        after.adopt()
        [ready] = file.parent.glob("*.ready")
        # While the old file is open no new one has its number.
        assert ready.stat().st_ino != os.fstat(held.fileno()).st_ino
    assert not isinstance(claim(after, "kept"), Claim)
    assert isinstance(claim(after, "refused"), Claim)


def test_an_open_file_is_not_copied_without_need(tmp_path: Path, bucket: DictBucket) -> None:
    """After a plain kill it is sealed as it is."""
    bench = Bench(tmp_path / "spool", bucket=bucket)
    bench.keys.read()
    take(bench, "kept")
    [file] = open_files(bench)
    number = file.stat().st_ino
    kill(bench)
    after = Bench(tmp_path / "spool", bucket=bucket)
    after.adopt()
    [ready] = file.parent.glob("*.ready")
    assert ready.stat().st_ino == number


def test_a_recovery_whose_sync_fails_copies_the_file_next_time(
    tmp_path: Path, bucket: DictBucket
) -> None:
    """Another sync of the same file would succeed for nothing."""
    bench = Bench(tmp_path / "spool", bucket=bucket)
    bench.keys.read()
    take(bench, "kept")
    [file] = open_files(bench)
    number = file.stat().st_ino
    kill(bench)
    disk = BadDisk()
    after = Bench(tmp_path / "spool", bucket=bucket, disk=disk)
    after.keys.read()
    disk.failing = True
    after.adopt()
    assert file.exists()
    disk.failing = False
    after.adopt()
    [ready] = file.parent.glob("*.ready")
    assert ready.stat().st_ino != number
    assert not isinstance(claim(after, "kept"), Claim)


def test_no_file_is_removed_that_may_hold_what_was_not_confirmed(
    tmp_path: Path, bucket: DictBucket
) -> None:
    """A segment without an answered line keeps its file: a power cut may bring its lines back."""
    disk = BadDisk()
    bench = Bench(tmp_path / "spool", bucket=bucket, disk=disk)
    bench.keys.read()
    disk.failing = True
    with pytest.raises(NotConfirmed):
        take(bench, "refused").result()
    [file] = open_files(bench)
    [segment] = bench.process_spool.unfinished()
    bench.store.drop(segment)
    job = bench.store.job(segment)
    with pytest.raises(Abandoned):
        bench.store.finish(job, stored=0, dead=0)
    assert file.exists()
    assert not bench.process_spool.empty


def test_a_log_that_a_sync_failed_of_says_so_until_it_begins_anew(tmp_path: Path) -> None:
    """Nothing is sealed, and so removed, on the word of a second sync."""
    disk = BadDisk()
    log = KeyLog(tmp_path, "0" * 32, disk=disk, durable=True, numbers=iter(range(1, 9)))
    log.append(log.prepare(b"x"))
    disk.failing = True
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        log.sync()
    disk.failing = False
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        log.sync()
    first = log.path
    log.restart()
    log.append(log.prepare(b"x"))
    log.sync()
    assert log.path != first
    log.close()


def test_the_mark_goes_with_its_directory(
    broken: Bench, tmp_path: Path, bucket: DictBucket
) -> None:
    """Once all is stored nothing says any more that a sync failed."""
    assert broken.totals()[Field.SYNC_FAILED] == 1
    kill(broken)
    after = Bench(tmp_path / "spool", bucket=bucket)
    after.adopt()
    after.upload_all()
    assert not broken.process_spool.path.exists()
    assert after.totals()[Field.SYNC_FAILED] == 0
