"""Who owns what is in the spool, who may read it, and what cannot be read."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bench import MakeBench, balance
from tests.support.doubles import DictBucket
from workers.errors import ObjectRejected
from workers.segments.segment import RUN_BYTES, SEGMENT_BYTES
from workers.spool.counters import Field
from workers.spool.spool import Spool

NOBODY = 65534


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask")
def test_modes_do_not_follow_the_umask(make_bench: MakeBench, bucket: DictBucket) -> None:
    """Every file is 0640 and every directory 0750: dead letters, quarantine and sums as well."""
    dead, bench = make_bench(), make_bench(OBJECT_MAX_PAYLOADS=1)
    dead.die()
    bench.adopt()
    bucket.trouble.append(ObjectRejected("not this one"))
    for _ in range(2):
        bench.accept(b"{}")
    (path, _) = bench.process_spool.path.glob("*.ready")
    path.write_bytes(path.read_bytes()[:-1])
    bench.upload_all()
    bench.accept(b"{}")
    found = {path.relative_to(bench.spool.root): path for path in bench.spool.root.glob("**/*")}
    assert {path.parts[0] for path in found} >= {"dead", "quarantine", "lock", "retired.json"}
    assert len(found) > 9
    modes = {name: path.stat().st_mode & 0o777 for name, path in found.items()}
    expected = {name: 0o750 if path.is_dir() else 0o640 for name, path in found.items()}
    assert modes == expected
    assert bench.spool.root.stat().st_mode & 0o777 == 0o750


def test_an_entry_that_cannot_be_read_hides_no_other(
    make_bench: MakeBench, caplog: pytest.LogCaptureFixture
) -> None:
    """The figures go without it and count it, with one warning; the others are adopted."""
    sick, dead, living = make_bench(), make_bench(), make_bench()
    sick.die()
    dead.accept(b"{}")
    dead.die()
    ledger = sick.process_spool.path / "ledger"
    ledger.unlink()
    ledger.mkdir()
    for _ in range(3):
        totals = living.totals()
        assert (balance(totals), totals.unreadable) == ((1, 0, 1, 0), 1)
        living.adopt()
    living.upload_all()
    assert balance(living.totals()) == (1, 1, 0, 0)
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "an entry of the spool cannot be read; it stays"
    ]


def test_reading_figures_changes_nothing(spool: Spool) -> None:
    """Counters that are gone are not made anew by a reader: their owner still writes the old."""
    process_spool = spool.create_process_spool()
    (process_spool.path / "ledger").unlink()
    assert spool.totals().unreadable == 1
    assert not (process_spool.path / "ledger").exists()
    process_spool.close()


def test_a_removed_lock_file_makes_no_orphan(make_bench: MakeBench, bucket: DictBucket) -> None:
    """What cleans up in the spool takes no living process's directory from it."""
    one, two = make_bench(), make_bench()
    one.accept(b'{"n":1}')
    for lock in (one.spool.root / "lock", one.process_spool.path / "lock"):
        lock.unlink()
    assert two.adopt() == []
    one.accept(b'{"n":2}')
    one.upload_all()
    two.upload_all()
    assert len(bucket.objects) == 1
    assert balance(two.totals()) == (2, 2, 0, 0)
    one.die()
    assert len(two.adopt()) == 1


def test_adopted_segments_take_as_much_of_the_budget(make_bench: MakeBench) -> None:
    """Tiny payloads count with what each costs in memory, before a kill and after it."""
    dead, living = make_bench(OBJECT_MAX_PAYLOADS=3), make_bench()
    for number in range(5):
        dead.accept(b'{"n":%d}' % number)
    held = dead.process_spool.counters[Field.HELD_BYTES]
    assert held == 5 * (8 + RUN_BYTES) + 2 * SEGMENT_BYTES
    dead.die()
    (process_spool,) = living.adopt()
    assert process_spool.counters[Field.HELD_BYTES] == held
    living.feed()
    assert living.totals()[Field.HELD_BYTES] == held
    living.upload_all()
    assert living.totals()[Field.HELD_BYTES] == 0


def test_a_replay_as_root_leaves_files_that_the_owner_can_read(
    make_bench: MakeBench, tmp_path: Path
) -> None:
    """What a command run as root makes in the spool belongs to the spool's owner."""
    if os.geteuid() != 0:
        pytest.skip("giving files away needs root")
    bench = make_bench()
    os.chown(bench.spool.root, NOBODY, NOBODY)
    bench.accept(b"{}")
    bench.spool.give_to_owner(bench.process_spool)
    made = [bench.process_spool.path, *bench.process_spool.path.iterdir()]
    assert len(made) == 4
    assert {path.stat().st_uid for path in made} == {NOBODY}
    shutil.rmtree(tmp_path / "spool")


def test_the_spool_is_made_for_the_user_that_will_serve(tmp_path: Path) -> None:
    """Root prepares it for another user, after a start that root alone could use as well."""
    if os.geteuid() != 0:
        pytest.skip("giving files away needs root")
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    spool.prepare(owner=(NOBODY, NOBODY))
    made = [spool.root, *spool.root.iterdir()]
    assert len(made) == 4
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(NOBODY, NOBODY)}


def test_a_directory_of_other_things_is_not_given_away(tmp_path: Path) -> None:
    """What was there before, and is no spool, keeps its owner."""
    if os.geteuid() != 0:
        pytest.skip("giving files away needs root")
    (tmp_path / "else").touch()
    Spool(tmp_path).prepare(owner=(NOBODY, NOBODY))
    assert {path.stat().st_uid for path in (tmp_path, tmp_path / "else")} == {0}
