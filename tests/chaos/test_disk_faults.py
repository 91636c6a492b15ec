"""A disk that fails, fills up or rots, and a clock that jumps, under the real pipeline.

No sleeps: a sync that is slow waits for an event, and a disk that is full is so until told.
"""

import contextlib
import errno
import itertools
import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support import wait_until
from tests.support.bench import Bench, balance, settings_for
from tests.support.doubles import DictBucket
from workers.errors import NotDurable, ObjectRejected
from workers.operate.receipts import DEAD_PREFIX
from workers.pipeline import Pipeline
from workers.segments.naming import created_microseconds
from workers.segments.segment import Receipt
from workers.spool import frames
from workers.spool.counters import Field
from workers.spool.disk import Disk
from workers.spool.segment_file import OPEN, READY
from workers.upload.compression import unpack

pytestmark = pytest.mark.chaos

PATIENCE_SECONDS = 20


class FaultyDisk(Disk):
    """A real disk whose syncs fail or wait when told so, and which fills up in mid-write."""

    def __init__(self) -> None:
        self.failing = False
        # How much of the next appends still fits; None: all.
        self.room: int | None = None
        # While `slow`, a sync says so in `syncing` and then waits for its word.
        self.slow = False
        self.syncing: queue.SimpleQueue[threading.Event] = queue.SimpleQueue()

    def append(self, file: int, buffers: Sequence[bytes]) -> int:
        data = b"".join(buffers)
        if self.room is not None and len(data) > self.room:
            super().append(file, [data[: self.room]])
            self.room = 0
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().append(file, buffers)

    def sync(self, file: int) -> None:
        if self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self.slow:
            word = threading.Event()
            self.syncing.put(word)
            assert word.wait(PATIENCE_SECONDS)
        super().sync(file)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FaultyDisk:
    """Make the disk of every spool that is not given another."""
    disk = FaultyDisk()
    monkeypatch.setattr("workers.spool.spool.Disk", lambda: disk)
    return disk


@pytest.fixture
def pipeline(tmp_path: Path, bucket: DictBucket, disk: FaultyDisk) -> Iterator[Pipeline]:
    """Run a pipeline with all its threads on that disk."""
    del disk
    settings = settings_for(tmp_path / "spool", MAX_WORKERS=2, DRAIN_SECONDS=PATIENCE_SECONDS)
    pipeline = Pipeline(settings, bucket=bucket)
    pipeline.start()
    yield pipeline
    pipeline.stop()


def stored(bucket: DictBucket) -> dict[tuple[str, int], bytes]:
    """Return every line in the bucket by its object's key and its number there."""
    return {
        (key, number): line
        for key, (body, _, encoding) in bucket.objects.items()
        if not key.startswith(DEAD_PREFIX)
        for number, line in enumerate(unpack(body, compression=encoding).splitlines(), 1)
    }


def quarantined(bench: Bench) -> list[Path]:
    """Return the segment files that were kept aside."""
    return list((bench.spool.root / "quarantine").glob("*" + READY))


def where(receipts: list[Receipt]) -> list[tuple[str, int]]:
    """Return the places that receipts promise."""
    return [
        (receipt.header.key, receipt.first_line + n)
        for receipt in receipts
        for n in range(receipt.count)
    ]


# --- A sync that fails ----------------------------------------------------------------------------


def test_after_a_failed_sync_nothing_is_accepted(
    pipeline: Pipeline, disk: FaultyDisk, caplog: pytest.LogCaptureFixture
) -> None:
    """EIO from fsync: no 202 for it, none after it, not ready, and a critical line in the log."""
    pipeline.accept("s", b"1\n", count=1)
    assert pipeline.refusal() is None
    disk.failing = True
    with pytest.raises(NotDurable):
        pipeline.accept("s", b"2\n", count=1)
    # The disk seems well again; a sync that succeeds now would say nothing of the pages before.
    disk.failing = False
    with pytest.raises(NotDurable):
        pipeline.accept("s", b"3\n", count=1)
    with pytest.raises(NotDurable):
        pipeline.accept("another", b"4\n", count=1)
    assert "Input/output error" in str(pipeline.refusal())
    assert [record.message for record in caplog.records if record.levelname == "CRITICAL"] == [
        "spool broken"
    ]


def test_a_failed_sync_keeps_what_was_answered_for(
    tmp_path: Path, bucket: DictBucket, disk: FaultyDisk
) -> None:
    """It stays on the disk and is stored after the next start; what was refused is gone."""
    settings = settings_for(tmp_path / "spool", DRAIN_SECONDS=PATIENCE_SECONDS)
    pipeline = Pipeline(settings, bucket=bucket)
    pipeline.start()
    kept = pipeline.accept("s", b"kept\n", count=1)
    disk.failing = True
    with pytest.raises(NotDurable):
        pipeline.accept("s", b"refused\n", count=1)
    began = time.monotonic()
    pipeline.stop()
    # Nobody waits for a segment that can no longer be frozen.
    assert time.monotonic() - began < PATIENCE_SECONDS / 2
    assert bucket.objects == {}
    disk.failing = False
    after = Bench(tmp_path / "spool", bucket=bucket)
    after.adopt()
    after.upload_all()
    assert stored(bucket) == {where(kept)[0]: b"kept"}
    assert balance(after.totals()) == (1, 1, 0, 0)


def test_no_answer_overtakes_its_sync(pipeline: Pipeline, disk: FaultyDisk) -> None:
    """While a sync lasts nobody is answered, and who came during it waits for the next one."""
    answered: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def post(line: bytes) -> None:
        pipeline.accept("s", line, count=1)
        answered.put(line)

    disk.slow = True
    first = threading.Thread(target=post, args=(b"1\n",))
    first.start()
    first_sync = disk.syncing.get(timeout=PATIENCE_SECONDS)
    others = [threading.Thread(target=post, args=(line,)) for line in (b"2\n", b"3\n")]
    for thread in others:
        thread.start()
    inbox = pipeline._committer._inbox  # type: ignore[attr-defined]
    wait_until(lambda: inbox.qsize() == 2, timeout=PATIENCE_SECONDS, what="two more to commit")
    assert answered.empty()
    first_sync.set()
    second_sync = disk.syncing.get(timeout=PATIENCE_SECONDS)
    first.join(PATIENCE_SECONDS)
    assert answered.get_nowait() == b"1\n"
    assert answered.empty()
    disk.slow = False
    second_sync.set()
    for thread in others:
        thread.join(PATIENCE_SECONDS)
    assert {answered.get_nowait(), answered.get_nowait()} == {b"2\n", b"3\n"}


# --- A disk that is full --------------------------------------------------------------------------


@pytest.mark.parametrize("room", [0, 1, 19, 20, 30, 45])
def test_a_full_disk_refuses_and_recovers_alone(
    make_bench: Callable[..., Bench], bucket: DictBucket, room: int
) -> None:
    """However little of a frame still fits: it is refused, and what was answered for is stored."""
    disk = FaultyDisk()
    bench = make_bench(disk)
    told = {where(bench.accept(b'{"n":1}'))[0]: b'{"n":1}'}
    disk.room = room
    with pytest.raises(NotDurable, match="No space left on device"):
        bench.accept(b'{"refused":true,"pad":"xxxxxxxx"}')
    assert bench.process_spool.counters[Field.ACCEPTED] == 1
    disk.room = None
    told[where(bench.accept(b'{"n":2}'))[0]] = b'{"n":2}'
    bench.upload_all()
    assert stored(bucket) == told
    assert balance(bench.totals()) == (2, 2, 0, 0)
    assert quarantined(bench) == []


def test_a_full_disk_and_then_a_kill(make_bench: Callable[..., Bench], bucket: DictBucket) -> None:
    """What was refused does not come back with the next process."""
    disk = FaultyDisk()
    bench = make_bench(disk)
    told = {where(bench.accept(b'{"n":1}'))[0]: b'{"n":1}'}
    disk.room = 60
    with pytest.raises(NotDurable):
        bench.accept(b'{"refused":1}', b'{"refused":2}', b'{"refused":3}', b'{"refused":4}')
    bench.die()
    after = make_bench()
    after.adopt()
    after.upload_all()
    assert stored(bucket) == told
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
    told = {}
    for number in range(100):
        payload = b'{"n":%d,"pad":"%b"}' % (number, b"x" * 100_000)
        try:
            told[where(bench.accept(payload))[0]] = payload
        except NotDurable as refusal:
            return told, str(refusal)
    return told, "never refused"


@pytest.mark.parametrize("disk_type", [Disk, Unaware])
def test_a_file_system_that_is_really_full(
    tmp_path: Path, bucket: DictBucket, disk_type: type[Disk]
) -> None:
    """Filled to the brim, it refuses; uploading frees it, and then it accepts again by itself."""
    with tmpfs(tmp_path / "spool", size="4m"):
        bench = Bench(
            tmp_path / "spool", bucket=bucket, disk=disk_type(), OBJECT_TARGET_BYTES=256 << 10
        )
        told, refusal = fill(bench)
        assert "No space left on device" in refusal
        assert 20 < len(told) < 42
        # A process can still start where there is no room for anybody's lines.
        other = Bench(tmp_path / "spool", bucket=bucket, disk=disk_type())
        bench.upload_all()
        told[where(bench.accept(b'{"last":1}'))[0]] = b'{"last":1}'
        told[where(other.accept(b'{"other":1}'))[0]] = b'{"other":1}'
        bench.upload_all()
        other.upload_all()
        assert stored(bucket) == told
        assert balance(bench.totals()) == (len(told), len(told), 0, 0)
        bench.die()
        other.die()


# --- Bit rot --------------------------------------------------------------------------------------

COLLECTIONS = [[b'{"n":1}'], [b'{"n":2}', b'{"n":3}'], [b'{"n":4}'], [b'{"n":5}']]
# Of the segment's frames, in order: the header, four groups of one collection each, the seal.
HEADER, GROUPS, SEAL = 0, (1, 2, 3, 4), 5
# Where in a frame a bit flips: mark, length, first line, back, crc, body.
BYTES = (0, 4, 8, 12, 16, 20)


def rot(path: Path, *, frame: int, byte: int) -> None:
    """Flip a bit in one frame of a segment file."""
    with path.open("rb") as file:
        found = list(frames.read(file, frames.seed(path.stem)))
    start = found[frame].end - len(found[frame].body) - frames.PREFIX_BYTES
    content = bytearray(path.read_bytes())
    content[start + byte] ^= 0x10
    path.write_bytes(content)


def leave(bench: Bench, *, suffix: str) -> tuple[Path, list[list[Receipt]]]:
    """Let a process die with one segment, open or ready; return its file, and all receipts."""
    receipts = [bench.accept(*collection) for collection in COLLECTIONS]
    if suffix == READY:
        bench.age()
    bench.die()
    (path,) = bench.process_spool.path.glob("*" + suffix)
    return path, receipts


# Without the last group of an open file: see below.
READABLE = [(OPEN, frame) for frame in GROUPS[:-1]] + [(READY, frame) for frame in GROUPS]


@pytest.mark.parametrize("byte", BYTES)
@pytest.mark.parametrize(("suffix", "frame"), READABLE)
def test_rot_costs_the_lines_it_hit_and_no_others(
    make_bench: Callable[..., Bench], bucket: DictBucket, suffix: str, frame: int, byte: int
) -> None:
    """What can be read is stored at its own lines; the rest is dead, said to be so, and kept."""
    path, receipts = leave(make_bench(), suffix=suffix)
    rot(path, frame=frame, byte=byte)
    damaged = path.read_bytes()
    bench = make_bench()
    bench.adopt()
    bench.upload_all()
    hit = frame - 1
    found = stored(bucket)
    for number, (collection, given) in enumerate(zip(COLLECTIONS, receipts, strict=True)):
        lines = [b""] * len(collection) if number == hit else collection
        assert [found[place] for place in where(given)] == lines
        state = bench.receipts.look_up(bench.receipts.issue(given[0])).state
        assert state == ("dead" if number == hit else "stored")
    dead = len(COLLECTIONS[hit])
    assert balance(bench.totals()) == (5, 5 - dead, 0, dead)
    (kept,) = quarantined(bench)
    assert kept.read_bytes().startswith(damaged)
    assert "no frame at byte" in json.loads(kept.with_suffix(".json").read_bytes())["reason"]


def test_rot_at_the_end_of_an_open_file_spares_the_rest(
    make_bench: Callable[..., Bench], bucket: DictBucket
) -> None:
    """There it looks like a torn write: its lines go, and every group before it is stored."""
    path, receipts = leave(make_bench(), suffix=OPEN)
    rot(path, frame=GROUPS[-1], byte=BYTES[-1])
    bench = make_bench()
    bench.adopt()
    bench.upload_all()
    places = [place for given in receipts[:-1] for place in where(given)]
    assert stored(bucket) == dict(zip(places, itertools.chain(*COLLECTIONS[:-1]), strict=True))
    assert bench.totals().pending == 0


@pytest.mark.parametrize("byte", BYTES)
def test_rot_in_the_seal_costs_nothing(
    make_bench: Callable[..., Bench], bucket: DictBucket, byte: int
) -> None:
    """Every line is stored; the file is kept aside, for a disk that rots will go on."""
    path, receipts = leave(make_bench(), suffix=READY)
    rot(path, frame=SEAL, byte=byte)
    bench = make_bench()
    bench.adopt()
    bench.upload_all()
    places = [place for given in receipts for place in where(given)]
    assert stored(bucket) == dict(zip(places, itertools.chain(*COLLECTIONS), strict=True))
    assert balance(bench.totals()) == (5, 5, 0, 0)
    assert len(quarantined(bench)) == 1


@pytest.mark.parametrize("byte", BYTES)
@pytest.mark.parametrize("suffix", [OPEN, READY])
def test_rot_in_the_header_loses_no_trace(
    make_bench: Callable[..., Bench], bucket: DictBucket, suffix: str, byte: int
) -> None:
    """Nobody knows any more where the lines belong: all are dead, and the file is kept whole."""
    path, _ = leave(make_bench(), suffix=suffix)
    rot(path, frame=HEADER, byte=byte)
    damaged = path.read_bytes()
    bench = make_bench()
    bench.adopt()
    bench.upload_all()
    assert bucket.objects == {}
    assert balance(bench.totals()) == (5, 0, 0, 5)
    (kept,) = quarantined(bench)
    assert kept.read_bytes().startswith(damaged)


def test_a_file_that_is_all_rot_is_kept_and_counted(
    make_bench: Callable[..., Bench], bucket: DictBucket, caplog: pytest.LogCaptureFixture
) -> None:
    """A ready file with nothing readable left is not taken for one that held nothing."""
    path, _ = leave(make_bench(), suffix=READY)
    rubbish = bytes(path.stat().st_size)
    path.write_bytes(rubbish)
    bench = make_bench()
    bench.adopt()
    bench.upload_all()
    assert bucket.objects == {}
    assert balance(bench.totals()) == (5, 0, 0, 5)
    (kept,) = quarantined(bench)
    assert kept.read_bytes() == rubbish
    assert any(record.levelname == "ERROR" for record in caplog.records)


def test_rot_behind_a_seal_that_was_not_renamed_is_counted_once(
    make_bench: Callable[..., Bench], bucket: DictBucket
) -> None:
    """An open file that has its seal already, from a kill in between, is no special case."""
    path, receipts = leave(make_bench(), suffix=READY)
    opened = path.rename(path.with_suffix(OPEN))
    rot(opened, frame=GROUPS[-1], byte=BYTES[-1])
    bench = make_bench()
    bench.adopt()
    bench.upload_all()
    assert balance(bench.totals()) == (5, 4, 0, 1)
    assert stored(bucket)[where(receipts[-1])[0]] == b""


def test_a_damaged_segment_that_s3_refuses_becomes_a_dead_letter(
    make_bench: Callable[..., Bench], bucket: DictBucket
) -> None:
    """Two misfortunes at once come to an end too."""
    path, _ = leave(make_bench(), suffix=READY)
    rot(path, frame=GROUPS[1], byte=BYTES[-1])
    bucket.trouble.append(ObjectRejected("not this one"))
    bench = make_bench()
    bench.adopt()
    bench.upload_all()
    assert stored(bucket) == {}
    assert balance(bench.totals()) == (5, 0, 0, 5)
    (dead_letter,) = (bench.spool.root / "dead").glob("*.ndjson")
    assert dead_letter.read_bytes() == b'{"n":1}\n\n\n{"n":4}\n{"n":5}\n'


# --- A clock that jumps ---------------------------------------------------------------------------

DAY = 86_400 * 10**9


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Hand out what sets the wall clock, in nanoseconds since 1970."""

    def set_clock(now: int) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: now)

    return set_clock


@pytest.mark.parametrize("jump", [-10_000 * DAY, -DAY, -1000, 0, 1000, DAY, 10_000 * DAY])
def test_names_rise_whatever_the_clock_does(
    make_bench: Callable[..., Bench],
    bucket: DictBucket,
    set_clock: Callable[[int], None],
    jump: int,
) -> None:
    """After a jump either way segments still sort in the order of their creation, each its own."""
    now = 1_790_000_000 * 10**9
    bench = make_bench(OBJECT_MAX_PAYLOADS=1)
    set_clock(now)
    told = [bench.accept(b'{"n":1}')]
    set_clock(now + jump)
    told += [bench.accept(b'{"n":2}'), bench.accept(b'{"n":3}')]
    set_clock(now)
    told += [bench.accept(b'{"n":4}')]
    names = [given[0].header.name for given in told]
    assert names == sorted(set(names))
    created = [created_microseconds(name) for name in names]
    assert created == sorted(set(created))
    bench.upload_all()
    assert stored(bucket) == {
        where(given)[0]: b'{"n":%d}' % number for number, given in enumerate(told, 1)
    }
    assert balance(bench.totals()) == (4, 4, 0, 0)


def test_a_clock_that_went_back_over_a_restart(
    make_bench: Callable[..., Bench], bucket: DictBucket, set_clock: Callable[[int], None]
) -> None:
    """A process that starts in the past of the last one stores under names of its own."""
    now = 1_790_000_000 * 10**9
    set_clock(now)
    bench = make_bench()
    told = {where(bench.accept(b'{"n":1}'))[0]: b'{"n":1}'}
    bench.die()
    set_clock(now - DAY)
    after = make_bench()
    told[where(after.accept(b'{"n":2}'))[0]] = b'{"n":2}'
    set_clock(now)
    told[where(after.accept(b'{"n":3}', stream="t"))[0]] = b'{"n":3}'
    after.adopt()
    after.upload_all()
    assert len(told) == 3
    assert stored(bucket) == told
    assert len({key.partition("dt=")[2][:10] for key, _ in told}) == 2
    assert balance(after.totals()) == (3, 3, 0, 0)


def test_age_is_not_the_wall_clocks_business(
    make_bench: Callable[..., Bench], set_clock: Callable[[int], None]
) -> None:
    """A jump of a year neither seals a young segment nor keeps an old one open."""
    bench = make_bench(OBJECT_MAX_AGE_SECONDS=60)
    bench.accept(b'{"n":1}')
    set_clock(time.time_ns() + 365 * DAY)
    due = bench.intake.seal_due()
    assert due is not None
    assert 0 < due <= 60
    assert bench.jobs.empty()
    set_clock(time.time_ns() - 2 * 365 * DAY)
    bench.age()
    assert bench.jobs.qsize() == 1
