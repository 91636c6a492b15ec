"""Bits that flip on the disk: only the lines they hit are lost, and the file is kept."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.disk.faults import frames_of, quarantined, stored, where
from tests.support.bench import Bench, balance
from tests.support.doubles import DictBucket
from workers.errors import ObjectRejected
from workers.segments.segment import Receipt
from workers.spool.segment_file import OPEN, READY

pytestmark = pytest.mark.chaos

COLLECTIONS = [[b'{"n":1}'], [b'{"n":2}', b'{"n":3}'], [b'{"n":4}'], [b'{"n":5}']]
# Of the segment's frames, in order: the header, four groups of one collection each, the seal.
HEADER, GROUPS, SEAL = 0, (1, 2, 3, 4), 5
# Where in a frame a bit flips: mark, length, first line, back, crc, body.
BYTES = (0, 4, 8, 12, 16, 20)


def rot(path: Path, *, frame: int, byte: int) -> None:
    """Flip a bit in one frame of a segment file."""
    content = bytearray(path.read_bytes())
    content[frames_of(path)[frame].start + byte] ^= 0x10
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
    """It is unknown where the lines belong: all are dead, and the file is kept whole."""
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
