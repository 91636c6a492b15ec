"""What a request with a key meets: claims, replays, other bodies, other processes."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.bench import Bench
from tests.support.doubles import BadDisk, DictBucket
from tests.unit.keys.conftest import MakeProcess
from tests.unit.keys.samples import LINES, claim, given, places, take
from workers.errors import KeyInUse, KeyReused, NotConfirmed, NotDurable
from workers.keys.claim import Claim
from workers.spool.counters import Field


def test_a_retry_finds_what_was_accepted(process: MakeProcess) -> None:
    """The same key and body again: the same object and lines, and nothing is stored again."""
    bench = process()
    future = take(bench, "a")
    assert places(bench, "a") == given(future)
    assert bench.totals()[Field.ACCEPTED] == 3
    assert bench.totals()[Field.KEYS_REPLAYED] == 1


def test_every_process_finds_it(process: MakeProcess) -> None:
    """A retry that comes to another process of the machine is answered as by the first."""
    one, other = process(), process()
    future = take(one, "a")
    assert places(other, "a") == given(future)
    assert places(one, "b") is None
    assert places(other, "a") == given(future)


def test_another_body_is_refused(process: MakeProcess) -> None:
    """A key stands for one body; webhooks do not compare."""
    bench = process()
    future = take(bench, "a")
    with pytest.raises(KeyReused):
        claim(bench, "a", b"{}\n")
    found = claim(bench, "a", b"{}\n", compare=False)
    assert not isinstance(found, Claim)
    assert found.total == 3
    assert [entry.first_line for entry in found.entries] == [r.first_line for r in future.result()]


def test_a_key_under_way_is_in_use(process: MakeProcess) -> None:
    """Until the first request is settled another one with its key has to wait, in any process."""
    one, other = process(), process()
    claimed = claim(one, "a")
    assert isinstance(claimed, Claim)
    for bench in (one, other):
        with pytest.raises(KeyInUse):
            claim(bench, "a")
    assert places(other, "b") is None
    claimed.release()
    assert places(one, "a") is None
    assert places(other, "a") is None


def test_a_key_is_not_known_before_its_payloads_are_synced(process: MakeProcess) -> None:
    """While the group is being synced a retry waits, and no log has the key."""
    bench = process()
    seen: list[str] = []

    class WatchedDisk(type(bench.disk)):  # type: ignore[misc]
        def sync(self, file: int) -> None:
            with pytest.raises(KeyInUse):
                claim(bench, "a")
            seen.append("sync")
            super().sync(file)

    bench.disk.__class__ = WatchedDisk
    take(bench, "a")
    bench.disk.__class__ = WatchedDisk.__bases__[0]
    assert seen == ["sync"]
    assert places(bench, "a") is not None


def test_a_full_disk_refuses_and_frees_the_key(tmp_path: Path) -> None:
    """What was refused was not accepted: the next request with the key is a first one."""
    disk = BadDisk()
    bench = Bench(tmp_path / "spool", bucket=DictBucket(), disk=disk)
    bench.keys.read()
    disk.full = True
    with pytest.raises(NotDurable):
        take(bench, "a").result()
    disk.full = False
    assert places(bench, "a") is None
    bench.store.check()
    assert take(bench, "a").result()
    assert bench.totals()[Field.UNLOGGED_KEYS] == 0


def test_no_room_in_the_key_log_refuses_before_anything_is_written(
    process: MakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that could not be logged is not accepted; a request without one is."""
    bench = process()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(bench.disk, "reserve", full)
    with pytest.raises(NotDurable, match="key log"):
        take(bench, "a").result()
    assert bench.accept(b'{"n":4}')
    monkeypatch.undo()
    assert places(bench, "a") is None
    bench.upload_all()
    assert bench.totals()[Field.STORED] == 1


def test_after_a_failed_sync_the_key_stays_in_use(tmp_path: Path) -> None:
    """Whether the payloads are on the disk is known after a restart: until then a retry waits."""
    disk = BadDisk()
    bench = Bench(tmp_path / "spool", bucket=DictBucket(), disk=disk)
    other = Bench(tmp_path / "spool", bucket=bench.bucket)
    bench.keys.read()
    other.keys.read()
    disk.failing = True
    with pytest.raises(NotConfirmed):
        take(bench, "a").result()
    for each in (bench, other):
        with pytest.raises(KeyInUse):
            claim(each, "a")
    assert places(other, "b") is None


def test_nothing_is_made_for_requests_without_a_key(process: MakeProcess) -> None:
    """Without a key there is no directory of key logs, and a segment file of the plain kind."""
    bench = process()
    bench.accept(b'{"n":1}')
    assert not (bench.spool.root / "keys").exists()


def test_a_collection_over_several_segments(process: MakeProcess) -> None:
    """Each run has its record; the answer has all of them, in the order of the payloads."""
    bench = process(OBJECT_MAX_PAYLOADS=2)
    lines = b"".join(b'{"n":%d}\n' % n for n in range(5))
    future = take(bench, "a", lines)
    assert len(given(future)) == 3
    assert places(bench, "a", lines) == given(future)


def test_a_segment_with_keys_is_stored_like_any_other(process: MakeProcess) -> None:
    """Key records are no lines: the object has the payloads alone."""
    bench = process(COMPRESSION="none")
    take(bench, "a")
    bench.accept(b'{"n":4}')
    bench.upload_all()
    assert [body for body, _, _ in bench.bucket.objects.values()] == [LINES + b'{"n":4}\n']
    assert places(bench, "a") is not None
