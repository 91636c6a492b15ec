"""Lines that are missing after a kill, or a boot: never called stored, and never counted twice.

Within one boot the kernel keeps what was written, so that what is missing was lost.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.chaos.disk.faults import flip, frames_of, quarantined, stored, where
from tests.support.bench import Bench, balance
from tests.support.doubles import DictBucket, QuickDisk
from workers.segments.segment import Receipt
from workers.spool.segment_file import OPEN, READY

pytestmark = pytest.mark.chaos

COLLECTIONS = [[b'{"n":1}'], [b'{"n":2}', b'{"n":3}'], [b'{"n":4}']]
MakeBench = Callable[..., Bench]


class OtherBoot(QuickDisk):
    """The disk of a machine that was started again."""

    def boot_id(self) -> int:
        return 12


class Unreadable(QuickDisk):
    """A disk that does not give some files back while a test says so."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.unreadable: set[str] = set()

    def open(self, path: Path) -> BinaryIO:
        if path.stem in self.unreadable:
            raise OSError(self.number, os.strerror(self.number))
        return super().open(path)


def leave(bench: Bench, *, suffix: str) -> tuple[Path, list[Receipt]]:
    """Let a process die with one segment, open or ready; return its file, and a receipt a group."""
    receipts = [bench.accept(*collection)[0] for collection in COLLECTIONS]
    if suffix == READY:
        bench.age()
    bench.die()
    (path,) = bench.process_spool.path.glob("*" + suffix)
    return path, receipts


def ends(path: Path) -> list[int]:
    """Return where a file's frames end: its header, its groups, its seal."""
    return [frame.end for frame in frames_of(path)]


def state(bench: Bench, receipt: Receipt) -> str:
    """Return what a receipt says."""
    return bench.receipts.look_up(bench.receipts.issue(receipt)).state


def upload(bench: Bench) -> None:
    """Adopt and upload all there is."""
    bench.adopt()
    bench.upload_all()
    bench.feed()


@pytest.mark.parametrize("suffix", [OPEN, READY])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_file_cut_between_frames_is_not_complete(
    make_bench: MakeBench, bucket: DictBucket, suffix: str, groups: int
) -> None:
    """What is left is stored; what was cut off is dead, in the counters and by its receipts."""
    path, receipts = leave(make_bench(), suffix=suffix)
    os.truncate(path, ends(path)[groups])
    bench = make_bench()
    upload(bench)
    left = sum(map(len, COLLECTIONS[:groups]))
    assert len(stored(bucket)) == left
    assert balance(bench.totals()) == (4, left, 0, 4 - left)
    for number, receipt in enumerate(receipts):
        assert state(bench, receipt) == ("stored" if number < groups else "dead")


@pytest.mark.parametrize("groups", [0, 1, 2])
def test_a_file_cut_between_frames_under_its_process(
    bench: Bench, bucket: DictBucket, groups: int
) -> None:
    """The process that wrote it knows how many lines there were, and stores none as another's."""
    receipts = [bench.accept(*collection)[0] for collection in COLLECTIONS]
    bench.age()
    (path,) = bench.process_spool.path.glob("*" + READY)
    os.truncate(path, ends(path)[groups])
    bench.upload_all()
    left = sum(map(len, COLLECTIONS[:groups]))
    assert balance(bench.totals()) == (4, left, 0, 4 - left)
    assert len(quarantined(bench)) == 1
    if groups:
        found = stored(bucket)
        assert [found[where([receipt])[0]] != b"" for receipt in receipts[:groups]] == [
            True
        ] * groups
        assert [state(bench, receipt) for receipt in receipts[groups:]] == ["dead"] * (3 - groups)


@pytest.mark.parametrize("suffix", [OPEN, READY])
def test_a_frame_that_is_missing_in_the_middle(make_bench: MakeBench, suffix: str) -> None:
    """Every frame there is reads well; the numbers of their lines tell that one is gone."""
    path, receipts = leave(make_bench(), suffix=suffix)
    found, content = ends(path), path.read_bytes()
    path.write_bytes(content[: found[1]] + content[found[2] :])
    bench = make_bench()
    upload(bench)
    assert balance(bench.totals()) == (4, 2, 0, 2)
    assert [state(bench, receipt) for receipt in receipts] == ["stored", "dead", "stored"]


@pytest.mark.parametrize("before_end", [1, 5])
def test_rot_in_the_last_frame_is_not_stored(
    make_bench: MakeBench, bucket: DictBucket, before_end: int
) -> None:
    """After a kill it is no torn write: its lines are dead, and the file is kept as it was."""
    path, receipts = leave(make_bench(), suffix=OPEN)
    content = flip(path, before_end=before_end)
    bench = make_bench()
    upload(bench)
    assert len(stored(bucket)) == 3
    assert balance(bench.totals()) == (4, 3, 0, 1)
    assert [state(bench, receipt) for receipt in receipts] == ["stored", "stored", "dead"]
    assert [kept.read_bytes() for kept in quarantined(bench)] == [content]


@pytest.mark.parametrize("damage", ["flipped", "cut", "header only"])
def test_rot_in_the_only_group_removes_nothing(
    make_bench: MakeBench, bucket: DictBucket, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    """An open file of which nothing is left was answered for all the same: kept, and dead."""
    bench = make_bench()
    bench.accept(b'{"n":1}')
    bench.die()
    (path,) = bench.process_spool.path.glob("*" + OPEN)
    if damage == "flipped":
        flip(path, before_end=1)
    else:
        header, lines = ends(path)
        os.truncate(path, lines - 3 if damage == "cut" else header)
    content = path.read_bytes()
    living = make_bench()
    upload(living)
    assert bucket.objects == {}
    assert balance(living.totals()) == (1, 0, 0, 1)
    kept = living.spool.root / "quarantine" / path.name
    assert kept.read_bytes() == content
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "segment damaged",
        "payloads lost with their process",
    ]


@pytest.mark.parametrize("disk", [QuickDisk, OtherBoot])
@pytest.mark.parametrize("length", [0, 1, 30])
def test_a_file_that_was_never_answered_for_goes(
    make_bench: MakeBench, disk: type[QuickDisk], length: int
) -> None:
    """A kill in the first write leaves its beginning; the counters show that none is missing."""
    bench = make_bench()
    bench.accept(b'{"n":1}')
    (path,) = bench.process_spool.path.glob("*" + OPEN)
    bench.process_spool.counters.accept(payloads=-1, size=0)
    bench.die()
    os.truncate(path, length)
    living = make_bench(disk())
    upload(living)
    assert not path.exists()
    assert os.listdir(living.spool.root / "quarantine") == []
    assert balance(living.totals()) == (0, 0, 0, 0)


def test_a_group_that_a_power_cut_tore_is_cut_off(
    make_bench: MakeBench, bucket: DictBucket
) -> None:
    """After another boot damage at the end is a write that had no answer: no alarm, no copy."""
    path, receipts = leave(make_bench(), suffix=OPEN)
    flip(path, before_end=1)
    bench = make_bench(OtherBoot())
    upload(bench)
    assert len(stored(bucket)) == 3
    assert quarantined(bench) == []
    # The counters know of one more than there is. That it was stored nothing shows.
    assert balance(bench.totals()) == (3, 3, 0, 0)
    assert state(bench, receipts[0]) == "stored"


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_what_cannot_be_read_now_is_pending_and_counted_once(
    make_bench: MakeBench, bucket: DictBucket, number: int
) -> None:
    """A disk that gives a file back later: nothing is lost meanwhile, and nothing counted twice."""
    dead = make_bench(OBJECT_MAX_PAYLOADS=1)
    names = [dead.accept(b'{"n":%d}' % each)[0].header.name for each in range(3)]
    dead.die()
    disk = Unreadable(number)
    disk.unreadable = set(names[:2])
    bench = make_bench(disk)
    upload(bench)
    assert balance(bench.totals()) == (3, 1, 2, 0)
    disk.unreadable = {names[1]}
    upload(bench)
    assert balance(bench.totals()) == (3, 2, 1, 0)
    bench.adoption.close()
    after = make_bench()
    upload(after)
    assert balance(after.totals()) == (3, 3, 0, 0)
    assert len(bucket.objects) == 3


def test_of_what_cannot_be_read_now_the_missing_is_dead_later(make_bench: MakeBench) -> None:
    """What another file lost is accounted for once every file has been read."""
    dead = make_bench(OBJECT_MAX_PAYLOADS=2)
    first = dead.accept(b'{"n":1}', b'{"n":2}')[0]
    dead.accept(b'{"n":3}')
    dead.accept(b'{"n":4}', stream="t")
    (gone,) = dead.process_spool.path.glob("*" + READY)
    dead.die()
    (lost, _) = sorted(dead.process_spool.path.glob("*" + OPEN))
    lost.unlink()
    disk = Unreadable(errno.EIO)
    disk.unreadable = {first.header.name}
    bench = make_bench(disk)
    upload(bench)
    assert balance(bench.totals()) == (4, 1, 3, 0)
    disk.unreadable = set()
    upload(bench)
    assert balance(bench.totals()) == (4, 3, 0, 1)
    assert not gone.exists()
