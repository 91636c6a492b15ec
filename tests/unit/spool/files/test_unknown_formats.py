"""What another version wrote is left as it is, and everything else goes on."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.bench import Bench, MakeBench, balance
from tests.support.doubles import DictBucket
from workers.errors import Abandoned
from workers.segments.naming import segment_name
from workers.spool import frames
from workers.spool.counters import CELLS, COUNTERS_BYTES
from workers.spool.segment_file import OPEN, READY
from workers.spool.spool import RETIRED


def of_a_newer_version(path: Path) -> bytes:
    """Write a segment file whose header has a later mark; return its bytes."""
    content = b"BBh2" + bytes(range(200))
    path.write_bytes(content)
    return content


def with_a_strange_header(path: Path) -> bytes:
    """Write a segment file whose header is whole and lacks what this version needs."""
    head = b'{"name":"another","place":"elsewhere"}'
    content = frames.prefix(frames.HEADER, head, frames.seed(path.stem)) + head
    path.write_bytes(content)
    return content


def with_a_strange_frame(path: Path) -> bytes:
    """Add a whole frame of an unknown kind to a segment file."""
    prefix = frames.prefix(b"BBx1", b"key", frames.seed(path.stem), back=1)
    with path.open("r+b") as file:
        file.seek(frames.content_end(file) if path.suffix == OPEN else path.stat().st_size)
        file.write(prefix + b"key")
    return path.read_bytes()


def with_a_strange_frame_before_its_seal(path: Path) -> bytes:
    """Put a whole frame of an unknown kind before a segment file's seal."""
    content = path.read_bytes()
    frame = frames.prefix(b"BBx1", b"key", frames.seed(path.stem)) + b"key"
    path.write_bytes(content[: -frames.SEAL_BYTES] + frame + content[-frames.SEAL_BYTES :])
    return path.read_bytes()


def leave(bench: Bench, *, suffix: str) -> Path:
    """Let a process die with a segment; return its file."""
    bench.accept(b'{"a":1}')
    if suffix == READY:
        bench.age()
    bench.die()
    [path] = bench.process_spool.path.glob("*" + suffix)
    return path


def criticals(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged as critical."""
    return [record.message for record in caplog.records if record.levelname == "CRITICAL"]


@pytest.mark.parametrize("write", [of_a_newer_version, with_a_strange_header, with_a_strange_frame])
@pytest.mark.parametrize("suffix", [OPEN, READY])
def test_a_segment_of_an_unknown_format_is_left(
    make_bench: MakeBench,
    bucket: DictBucket,
    caplog: pytest.LogCaptureFixture,
    write: Callable[[Path], bytes],
    suffix: str,
) -> None:
    """File, counters and directory stay as they are, once loudly; other directories go on."""
    newer, other, living = make_bench(), make_bench(), make_bench()
    key = other.accept(b'{"b":1}')[0].header.key
    other.die()
    path = leave(newer, suffix=suffix)
    content, ledger = write(path), (path.parent / "ledger").read_bytes()
    for _ in range(2):
        living.adopt()
        living.upload_all()
    assert path.read_bytes() == content
    assert (path.parent / "ledger").read_bytes() == ledger
    assert criticals(caplog) == ["a segment has an unknown format"]
    assert list(bucket.objects) == [key]
    assert balance(living.totals()) == (2, 1, 1, 0)
    # The version that knows it finds it as it was left.
    assert path.parent in [process_spool.path for process_spool in living.spool.adopt_orphans()]


def test_other_segments_of_the_directory_go_up(make_bench: MakeBench, bucket: DictBucket) -> None:
    """Beside a file of an unknown format the others are stored and counted; it stays pending."""
    dead, living = make_bench(OBJECT_MAX_PAYLOADS=1), make_bench()
    names = [dead.accept(b"{}")[0].header.name for _ in range(3)]
    dead.die()
    path = dead.process_spool.path / (names[1] + READY)
    content = of_a_newer_version(path)
    for _ in range(2):
        living.adopt()
        living.upload_all()
    assert len(bucket.objects) == 2
    assert balance(living.totals()) == (3, 2, 1, 0)
    assert [file.read_bytes() for file in path.parent.glob("*.ready")] == [content]
    assert living.adoption.process_spools == []


def test_a_strange_frame_before_a_seal_is_found_by_the_upload(
    make_bench: MakeBench, bucket: DictBucket, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a sealed file only header and seal are read at first; the upload reads it whole."""
    newer, living = make_bench(), make_bench()
    path = leave(newer, suffix=READY)
    content = with_a_strange_frame_before_its_seal(path)
    living.adopt()
    living.feed()
    with pytest.raises(Abandoned):
        living.upload(living.next_job())
    assert path.read_bytes() == content
    assert criticals(caplog) == ["a segment has an unknown format"]
    assert bucket.objects == {}
    assert balance(living.totals()) == (1, 0, 1, 0)


@pytest.mark.parametrize("change", ["longer", "format"])
def test_counters_of_an_unknown_format_are_left(
    make_bench: MakeBench, bucket: DictBucket, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    """A directory whose counters cannot be read is not adopted, and the figures go without it."""
    newer, living = make_bench(), make_bench()
    path = leave(newer, suffix=OPEN)
    ledger = path.parent / "ledger"
    content = ledger.read_bytes()
    content = content + content if change == "longer" else content[:-8] + (2).to_bytes(8, "little")
    ledger.write_bytes(content)
    before = path.read_bytes()
    for _ in range(2):
        assert living.adopt() == []
        assert balance(living.totals()) == (0, 0, 0, 0)
        assert living.totals().unreadable == 1
    assert (ledger.read_bytes(), path.read_bytes()) == (content, before)
    assert criticals(caplog) == ["an entry of the spool cannot be read; it stays"]
    assert bucket.objects == {}


@pytest.mark.parametrize(
    "document",
    [
        {"last": "-", "cells": [0] * (CELLS + 1)},
        {"last": "-", "cells": [0] * CELLS, "version": 2},
        {"sums": {}},
        [],
    ],
)
def test_sums_of_an_unknown_format_are_left(
    make_bench: MakeBench, caplog: pytest.LogCaptureFixture, document: object
) -> None:
    """Nothing is added to them, so no directory is removed either, and the figures say so."""
    dead, living = make_bench(), make_bench()
    dead.accept(b"{}")
    dead.die()
    retired = living.spool.root / RETIRED
    retired.write_text(json.dumps(document))
    living.adopt()
    living.upload_all()
    living.feed()
    assert json.loads(retired.read_bytes()) == document
    assert dead.process_spool.path.exists()
    assert balance(living.totals()) == (1, 1, 0, 0)
    assert living.totals().unreadable == 1
    assert criticals(caplog) == ["an entry of the spool cannot be read; it stays"]


def test_a_directory_with_files_of_an_unknown_kind_is_not_removed(make_bench: MakeBench) -> None:
    """What this version does not know by its name it does not remove with the directory."""
    dead, living = make_bench(), make_bench()
    dead.die()
    strange = dead.process_spool.path / (segment_name(1) + ".sealed2")
    strange.touch()
    living.adopt()
    living.feed()
    assert strange.exists()
    assert dead.process_spool.path.exists()


def test_what_the_version_before_left_is_read(make_bench: MakeBench, bucket: DictBucket) -> None:
    """Counters without a boot, sums of all cells and a lock file are taken over as they were."""
    dead, living = make_bench(), make_bench()
    dead.accept(b'{"a":1}')
    dead.process_spool.counters.boot = 0
    dead.die()
    ledger = dead.process_spool.path / "ledger"
    assert len(ledger.read_bytes()) == COUNTERS_BYTES
    sums = {"last": "0" * 32, "cells": [5, 3, 2, *[0] * (CELLS - 3)]}
    (living.spool.root / RETIRED).write_text(json.dumps(sums))
    living.adopt()
    living.upload_all()
    living.feed()
    assert len(bucket.objects) == 1
    assert balance(living.totals()) == (6, 4, 0, 2)
    assert not dead.process_spool.path.exists()
