"""A damaged file is replayed once it is whole again: what was lost, and nothing a second time."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.disk.faults import stored
from tests.support.bench import Bench, balance
from tests.support.doubles import DictBucket
from workers.errors import StoreUnavailable
from workers.operate import quarantine
from workers.operate.quarantine import NotInQuarantine, Quarantine, StillDamaged
from workers.spool import frames
from workers.spool.segment_file import OPEN, READY

COLLECTIONS = [[b'{"n":1}'], [b'{"n":2}', b'{"n":3}'], [b'{"n":4}']]
LINES = [line for collection in COLLECTIONS for line in collection]
MakeBench = Callable[..., Bench]


def damage(bench: Bench, *broken: int, suffix: str = READY) -> tuple[Path, bytes]:
    """Let a process die with one segment, break frames of it; return its file, and it unbroken."""
    for collection in COLLECTIONS:
        bench.accept(*collection)
    if suffix == READY:
        bench.age()
    bench.die()
    (path,) = bench.process_spool.path.glob("*" + suffix)
    whole = path.read_bytes()
    with path.open("rb") as file:
        end = frames.content_end(file) if suffix == OPEN else None
        file.seek(0)
        found = list(frames.read(file, frames.seed(path.stem), end))
    content = bytearray(whole)
    for frame in broken:
        content[found[frame].end - 1] ^= 0x10
    path.write_bytes(content)
    return path, whole


def uploaded(make_bench: MakeBench, *broken: int, suffix: str = READY) -> tuple[Bench, Path, bytes]:
    """Let a damaged file be uploaded as far as it goes; return where it is kept, and it whole."""
    path, whole = damage(make_bench(), *broken, suffix=suffix)
    bench = make_bench()
    bench.adopt()
    bench.upload_all()
    (kept,) = (bench.spool.root / "quarantine").glob("*.ready")
    assert kept.stem == path.stem
    return bench, kept, whole


def in_bucket(bucket: DictBucket) -> list[bytes]:
    """Return the payloads in the bucket, sorted."""
    return sorted(line for line in stored(bucket).values() if line)


def finish(bench: Bench) -> None:
    """Let a running process upload what was given back."""
    bench.adopt()
    bench.upload_all()


@pytest.fixture
def found(make_bench: MakeBench, bucket: DictBucket) -> tuple[Bench, Quarantine, Path, bytes]:
    """Return what has quarantine of a file that has lost its lines 2 and 3."""
    bench, kept, whole = uploaded(make_bench, 2)
    assert balance(bench.totals()) == (4, 2, 0, 2)
    return bench, Quarantine(bench.spool, bucket=bucket), kept, whole


def test_what_was_lost_goes_to_an_object_of_its_own(
    found: tuple[Bench, Quarantine, Path, bytes], bucket: DictBucket
) -> None:
    """The first object stays as it is; every payload is in the bucket once, and none is dead."""
    bench, damaged, kept, whole = found
    before = dict(bucket.objects)
    kept.write_bytes(whole)
    assert damaged.replay(kept.stem) == 2
    assert not list(kept.parent.iterdir())
    finish(bench)
    assert in_bucket(bucket) == LINES
    assert balance(bench.totals()) == (4, 4, 0, 0)
    assert before.items() <= bucket.objects.items()
    [new] = bucket.objects.keys() - before.keys()
    [old] = before.keys()
    assert Path(new).parent == Path(old).parent
    with pytest.raises(NotInQuarantine):
        damaged.replay(kept.stem)


def test_what_is_still_damaged_stays(found: tuple[Bench, Quarantine, Path, bytes]) -> None:
    """It says where, and changes nothing."""
    bench, damaged, kept, _ = found
    with pytest.raises(StillDamaged, match="cannot be read whole: no frame at byte"):
        damaged.replay(kept.stem)
    assert kept.exists()
    assert [note["segment"] for note in damaged.all()] == [kept.stem]
    assert b"".join(damaged.lines(kept.stem)) == b'{"n":1}\n\n\n{"n":4}\n'
    assert balance(bench.totals()) == (4, 2, 0, 2)
    for name in ("", "../retired", "20261123T235301123456Z-0123456789abcdef"):
        with pytest.raises(NotInQuarantine):
            damaged.replay(name)


def test_a_replay_cut_short_stores_nothing_twice(
    found: tuple[Bench, Quarantine, Path, bytes],
    bucket: DictBucket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Done again before or after the upload, it only drops the file."""
    bench, damaged, kept, whole = found
    kept.write_bytes(whole)
    note = kept.with_suffix(".json").read_bytes()
    for _ in range(2):
        damaged.replay(kept.stem)
        kept.write_bytes(whole)
        kept.with_suffix(".json").write_bytes(note)
    finish(bench)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was given back again")

    monkeypatch.setattr(quarantine, "give_back", never)
    assert damaged.replay(kept.stem) == 2
    assert not kept.exists()
    assert in_bucket(bucket) == LINES
    assert balance(bench.totals()) == (4, 4, 0, 0)


def test_nothing_goes_where_the_object_is_unknown(
    found: tuple[Bench, Quarantine, Path, bytes], bucket: DictBucket
) -> None:
    """After the object was removed, or where it has other lines, the file stays."""
    _, damaged, kept, whole = found
    kept.write_bytes(whole)
    [key] = bucket.objects
    body, metadata, encoding = there = bucket.objects.pop(key)
    with pytest.raises(StillDamaged, match="its object is gone"):
        damaged.replay(kept.stem)
    bucket.objects[key] = gzip.compress(b'{"n":1}\n\n\n{"n":5}\n'), metadata, encoding
    with pytest.raises(StillDamaged, match="other lines"):
        damaged.replay(kept.stem)
    bucket.objects[key] = body, {**metadata, "payloads": "5"}, encoding
    with pytest.raises(StillDamaged, match="it has 4 lines of 5"):
        damaged.replay(kept.stem)
    bucket.objects[key] = body, {**metadata, "segment": "another"}, encoding
    with pytest.raises(StillDamaged, match="another object"):
        damaged.replay(kept.stem)
    assert kept.exists()
    bucket.objects[key] = there
    assert damaged.replay(kept.stem) == 2


def test_nothing_is_lost_of_a_broken_seal(make_bench: MakeBench, bucket: DictBucket) -> None:
    """All lines are in the object: a replay drops the file, and gives nothing back."""
    bench, kept, whole = uploaded(make_bench, 4)
    kept.write_bytes(whole)
    assert Quarantine(bench.spool, bucket=bucket).replay(kept.stem) == 0
    assert not kept.exists()
    finish(bench)
    assert in_bucket(bucket) == LINES
    assert balance(bench.totals()) == (4, 4, 0, 0)


@pytest.mark.parametrize("suffix", [OPEN, READY])
def test_a_header_that_can_be_read_again_brings_all(
    make_bench: MakeBench, bucket: DictBucket, suffix: str
) -> None:
    """Nothing of it was stored: it goes to the object that its receipts name."""
    bench, kept, whole = uploaded(make_bench, 0, suffix=suffix)
    damaged = Quarantine(bench.spool, bucket=bucket)
    with pytest.raises(StillDamaged, match="its header cannot be read"):
        damaged.replay(kept.stem)
    kept.write_bytes(whole)
    assert damaged.replay(kept.stem) == 4
    finish(bench)
    assert in_bucket(bucket) == LINES
    assert balance(bench.totals()) == (4, 4, 0, 0)
    [key] = bucket.objects
    assert kept.stem in key


def test_a_file_under_way_is_not_replayed(make_bench: MakeBench, bucket: DictBucket) -> None:
    """Its upload reads the same file: what it can read then is stored by it."""
    damage(make_bench(), 2)
    bench = make_bench()
    bucket.trouble.append(StoreUnavailable("away", reason="network"))
    bench.adopt()
    bench.feed()
    with pytest.raises(StoreUnavailable):
        bench.uploader.upload(bench.next_job())
    (kept,) = (bench.spool.root / "quarantine").glob("*.ready")
    with pytest.raises(StillDamaged, match="on its way to S3"):
        Quarantine(bench.spool, bucket=bucket).replay(kept.stem)
