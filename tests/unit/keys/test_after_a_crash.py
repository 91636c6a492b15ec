"""Keys after a kill, a power cut, an upload: what is left in segment files and key logs."""

from pathlib import Path

import pytest

from tests.support.bench import Bench
from tests.unit.keys.conftest import MakeProcess
from tests.unit.keys.samples import LINES, claim, given, kill, kill_within, places, take
from workers.errors import KeyInUse
from workers.keys.claim import Claim
from workers.spool.counters import Field
from workers.spool.segment_file import OPEN, READY, SegmentFile


def logs(bench: Bench) -> list[Path]:
    """Return the key logs of the spool."""
    return sorted((bench.spool.root / "keys").glob("*.keys"))


def cut_power(bench: Bench) -> None:
    """End a process, and the boot of the machine: what was not synced is lost."""
    bench.process_spool.counters.boot = 1
    kill(bench)
    for log in logs(bench):
        log.write_bytes(b"")


def test_a_kill_between_sync_and_log(process: MakeProcess) -> None:
    """The payloads are safe and no log has the key: a retry waits until the file is recovered."""
    one = process()
    kill_within(one, "commit", key="a")
    other = process()
    with pytest.raises(KeyInUse, match="not recovered"):
        claim(other, "a")
    assert other.unrecovered == 1
    other.adopt()
    assert [first for _, first, _ in places(other, "a") or []] == [1]
    other.upload_all()
    assert other.totals()[Field.STORED] == 3


def test_payloads_are_counted_before_their_key_is_known(process: MakeProcess) -> None:
    """Another process answers for a key at once: the ledger has its payloads by then."""
    one, other = process(), process()
    kill_within(one, "commit", key="a", done=True)
    assert places(other, "a") is not None
    assert other.totals()[Field.ACCEPTED] == 3


def test_a_kill_before_anything_is_written(process: MakeProcess) -> None:
    """Nothing was kept, so a retry is a first request, as soon as that is known."""
    one = process()
    take(one, "x")
    kill_within(one, "begin", key="a")
    other = process()
    assert places(other, "a") is None
    assert places(other, "x") is not None


def test_a_kill_of_one_that_is_idle_holds_up_no_key(process: MakeProcess) -> None:
    """All its keys are in its log: others take new keys before its directory is recovered."""
    one, other = process(), process()
    future = take(one, "a")
    places(other, "a")
    kill(one)
    assert places(other, "b") is None
    assert places(other, "a") == given(future)


def test_a_power_cut_that_takes_the_log(process: MakeProcess) -> None:
    """What was only in the log's cache is in the segment file: no retry before it is read."""
    one = process()
    future = take(one, "a")
    cut_power(one)
    other = process()
    with pytest.raises(KeyInUse, match="not recovered"):
        claim(other, "b")
    other.adopt()
    assert places(other, "a") == given(future)
    assert places(other, "b") is None


def test_a_sealed_file_has_its_keys_in_a_synced_log(process: MakeProcess) -> None:
    """It is not read for keys after a crash; so the log is synced first."""
    one = process()
    order: list[str] = []

    class Watched(type(one.disk)):  # type: ignore[misc]
        def sync(self, file: int) -> None:
            order.append(Path(f"/proc/self/fd/{file}").resolve().suffix)

        def rename(self, old: Path, new: Path) -> None:
            order.append(new.suffix)
            super().rename(old, new)

    take(one, "a")
    one.disk.__class__ = Watched
    one.age()
    assert order == [".keys", OPEN, READY]


def test_a_log_that_cannot_be_synced_keeps_the_file(
    process: MakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The segment is not sealed, and so not removed: after a restart its keys are read from it."""
    one = process()
    future = take(one, "a")

    def fails(*_: object) -> None:
        raise OSError

    assert one.keys._known is not None
    monkeypatch.setattr(one.keys._known.own, "sync", fails)
    one.age()
    assert [path.suffix for path in one.process_spool.path.glob("2*")] == [OPEN]
    monkeypatch.undo()
    cut_power(one)
    other = process()
    other.adopt()
    assert places(other, "a") == given(future)


def test_keys_outlive_upload_and_restart(process: MakeProcess) -> None:
    """With the object stored and the file gone the log is what is left, of the adopter too."""
    one = process()
    futures = [take(one, "a"), take(one, "b", stream="t")]
    one.upload_all()
    kill(one)
    two = process()
    two.adopt()
    two.upload_all()
    kill(two)
    three = process()
    assert [places(three, key) for key in "ab"] == [given(future) for future in futures]


def test_recovered_keys_outlive_their_adopter(process: MakeProcess) -> None:
    """The adopter's log is synced before the file is `.ready`, and it alone has the key."""
    one = process()
    kill_within(one, "commit", key="a")
    two = process()
    two.adopt()
    found = places(two, "a")
    kill(two)
    three = process()
    three.adopt()
    three.upload_all()
    assert places(three, "a") == found != None  # noqa: E711


def test_only_the_missing_runs_are_placed(process: MakeProcess) -> None:
    """Of a request over two files one was lost: the retry knows which payloads to place."""
    one = process(OBJECT_MAX_PAYLOADS=2)
    kill_within(one, "commit", key="a")
    *_, last = sorted(one.process_spool.path.glob("2*"))
    last.unlink()
    other = process(OBJECT_MAX_PAYLOADS=2)
    other.adopt()
    claimed = claim(other, "a")
    assert isinstance(claimed, Claim)
    assert [entry.record.covered for entry in claimed.found] == [((0, 1),)]
    assert claimed.missing(3) == ((2, 2),)


def test_a_file_that_cannot_be_read_holds_new_keys_up(
    process: MakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it holds is not known: no key that may be in it is taken. Known ones are answered."""
    one = process()
    take(one, "x")
    kill_within(one, "commit", key="a")
    other = process()

    def fails(_: SegmentFile) -> None:
        raise OSError

    monkeypatch.setattr(SegmentFile, "inspect", fails)
    other.adopt()
    with pytest.raises(KeyInUse):
        claim(other, "b")
    assert places(other, "x") is not None
    monkeypatch.undo()
    other.adopt()
    assert places(other, "b") is None
    assert places(other, "a") is not None


def test_a_torn_group_has_no_keys(process: MakeProcess) -> None:
    """A record and its lines are one frame: what was torn off was never answered."""
    one = process()
    kill_within(one, "commit", key="a")
    (path,) = one.process_spool.path.glob("*.open")
    path.write_bytes(path.read_bytes().rstrip(b"\0")[:-3])
    other = process()
    other.adopt()
    assert places(other, "a") is None


def test_damage_elsewhere_leaves_the_keys_that_can_be_read(process: MakeProcess) -> None:
    """A rotten frame takes its own key with it; the others of the file stay."""
    one = process()
    take(one, "x")
    size = len(next(one.process_spool.path.glob("*.open")).read_bytes().rstrip(b"\0"))
    future = take(one, "a")
    kill_within(one, "begin", key="b")
    (path,) = one.process_spool.path.glob("*.open")
    content = bytearray(path.read_bytes())
    content[size - 2] ^= 1
    path.write_bytes(content)
    for log in logs(one):
        log.unlink()
    one_counters = one.spool.process_paths()[0] / "ledger"
    assert one_counters.exists()
    other = process()
    other.adopt()
    assert places(other, "a") == given(future)
    assert places(other, "x") is None


def test_an_unlogged_mark_is_not_left_behind(process: MakeProcess) -> None:
    """Once the directory is recovered no request asks again what is in it."""
    one = process()
    kill_within(one, "commit", key="a")
    other = process()
    other.adopt()
    assert other.totals()[Field.UNLOGGED_KEYS] == 0
    assert places(other, "b", LINES) is None
