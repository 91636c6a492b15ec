"""A disk that is full: it refuses, loses nothing, and accepts again once there is room."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.disk.faults import FaultyDisk, quarantined, stored, where
from tests.support.bench import Bench, balance
from tests.support.doubles import DictBucket
from workers.errors import NotDurable
from workers.spool.counters import Field
from workers.spool.disk import Disk

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("room", [0, 1, 19, 20, 30, 45])
def test_a_full_disk_refuses_and_recovers_alone(
    make_bench: Callable[..., Bench], bucket: DictBucket, room: int
) -> None:
    """However little of a frame still fits: it is refused, and what was answered for is stored."""
    disk = FaultyDisk()
    bench = make_bench(disk)
    answered = {where(bench.accept(b'{"n":1}'))[0]: b'{"n":1}'}
    disk.room = room
    with pytest.raises(NotDurable, match="No space left on device"):
        bench.accept(b'{"refused":true,"pad":"xxxxxxxx"}')
    assert bench.process_spool.counters[Field.ACCEPTED] == 1
    disk.room = None
    answered[where(bench.accept(b'{"n":2}'))[0]] = b'{"n":2}'
    bench.upload_all()
    assert stored(bucket) == answered
    assert balance(bench.totals()) == (2, 2, 0, 0)
    assert quarantined(bench) == []


def test_a_full_disk_and_then_a_kill(make_bench: Callable[..., Bench], bucket: DictBucket) -> None:
    """What was refused does not come back with the next process."""
    disk = FaultyDisk()
    bench = make_bench(disk)
    answered = {where(bench.accept(b'{"n":1}'))[0]: b'{"n":1}'}
    disk.room = 60
    with pytest.raises(NotDurable):
        bench.accept(b'{"refused":1}', b'{"refused":2}', b'{"refused":3}', b'{"refused":4}')
    bench.die()
    after = make_bench()
    after.adopt()
    after.upload_all()
    assert stored(bucket) == answered
    assert balance(after.totals()) == (1, 1, 0, 0)


@contextlib.contextmanager
def tmpfs(path: Path, *, size: str) -> Iterator[None]:
    """Mount a small tmpfs, or skip."""
    if os.geteuid() != 0:
        pytest.skip("a full file system needs root (mount)")
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a full file system needs mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


class Unaware(Disk):
    """Always thinks that there is room, as where somebody else takes it meanwhile."""

    def free_bytes(self, path: Path) -> int:
        del path
        return 1 << 40


def fill(bench: Bench) -> tuple[dict[tuple[str, int], bytes], str]:
    """Accept until the first refusal; return what was answered for, and why no more was."""
    answered = {}
    for number in range(100):
        payload = b'{"n":%d,"pad":"%b"}' % (number, b"x" * 100_000)
        try:
            answered[where(bench.accept(payload))[0]] = payload
        except NotDurable as refusal:
            return answered, str(refusal)
    return answered, "never refused"


@pytest.mark.parametrize("disk_type", [Disk, Unaware])
def test_a_file_system_that_is_really_full(
    tmp_path: Path, bucket: DictBucket, disk_type: type[Disk]
) -> None:
    """Filled to the brim, it refuses; uploading frees it, and then it accepts again by itself."""
    with tmpfs(tmp_path / "spool", size="4m"):
        bench = Bench(
            tmp_path / "spool", bucket=bucket, disk=disk_type(), OBJECT_TARGET_BYTES=256 << 10
        )
        answered, refusal = fill(bench)
        assert "No space left on device" in refusal
        assert 20 < len(answered) < 42
        # A process can still start where there is no room for anybody's lines.
        other = Bench(tmp_path / "spool", bucket=bucket, disk=disk_type())
        bench.upload_all()
        answered[where(bench.accept(b'{"last":1}'))[0]] = b'{"last":1}'
        answered[where(other.accept(b'{"other":1}'))[0]] = b'{"other":1}'
        bench.upload_all()
        other.upload_all()
        assert stored(bucket) == answered
        assert balance(bench.totals()) == (len(answered), len(answered), 0, 0)
        bench.die()
        other.die()
