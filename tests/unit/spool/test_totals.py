"""The spool's totals outlive the processes that counted them."""

import shutil
from pathlib import Path

import pytest

from tests.support.bench import MakeBench, balance
from workers.spool.counters import Counters, Field, Totals
from workers.spool.process_spool import ProcessSpool
from workers.spool.recovery import reconcile
from workers.spool.spool import Spool


def give_up(process_spool: ProcessSpool, *, accepted: int, stored: int) -> None:
    """Count something in a process's spool."""
    process_spool.counters.accept(payloads=accepted, size=accepted)
    process_spool.counters[Field.STORED] = stored
    for gauge in (Field.QUEUE_DEPTH, Field.IDLE_WORKERS, Field.HELD_BYTES):
        process_spool.counters[gauge] = 99


def test_totals_outlive_their_processes(spool: Spool) -> None:
    """Retired or alive, everything counts once; gauges go with their process."""
    process_spools = [spool.create_process_spool() for _ in range(3)]
    for process_spool in process_spools:
        give_up(process_spool, accepted=10, stored=10)
    before = balance(spool.totals())
    for process_spool in process_spools[:2]:
        spool.retire(process_spool)
    assert balance(spool.totals()) == before == (30, 30, 0, 0)
    assert spool.totals()[Field.QUEUE_DEPTH] == 99
    assert [path for path in spool.root.iterdir() if len(path.name) == 32] == [
        process_spools[2].path
    ]
    process_spools[2].close()


def test_a_closed_spool_has_no_idle_workers(spool: Spool) -> None:
    """What a process gave up still counts; what only a running process has does not."""
    process_spool = spool.create_process_spool()
    give_up(process_spool, accepted=10, stored=4)
    process_spool.close()
    totals = spool.totals()
    assert balance(totals) == (10, 4, 6, 0)
    assert totals[Field.QUEUE_DEPTH] == totals[Field.IDLE_WORKERS] == 0
    assert totals[Field.HELD_BYTES] == 99


def stay(*_: object, **__: object) -> None:
    """Remove nothing: the process was killed just before it would have."""


def test_killed_while_retiring_nothing_counts_twice(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted but not removed, a process's spool is not counted again; the next look removes it."""
    first, second = spool.create_process_spool(), spool.create_process_spool()
    give_up(first, accepted=10, stored=10)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", stay)
        spool.retire(first)
    assert first.path.exists()
    assert spool.totals()[Field.ACCEPTED] == 10
    for adopted in spool.adopt_orphans():
        spool.retire(adopted)
    assert spool.totals()[Field.ACCEPTED] == 10
    spool.retire(second)
    assert spool.totals()[Field.ACCEPTED] == 10
    assert not first.path.exists()


def test_a_spool_with_segments_is_not_retired(make_bench: MakeBench) -> None:
    """Files of payloads are never removed along with their directory."""
    bench, other = make_bench(), make_bench()
    bench.accept(b"{}")
    bench.spool.retire(bench.process_spool)
    assert balance(other.totals()) == (1, 0, 1, 0)
    assert len(other.adopt()) == 1


@pytest.mark.parametrize("left", [None, 0, 100])
def test_a_ledger_that_a_power_cut_took(spool: Spool, left: int | None) -> None:
    """A process's spool with no counters, or short ones, stops neither the totals nor adoption."""
    process_spool = spool.create_process_spool()
    process_spool.close()
    ledger = process_spool.path / "ledger"
    if left is None:
        ledger.unlink()
    else:
        ledger.write_bytes(bytes(left))
    assert balance(spool.totals()) == (0, 0, 0, 0)
    [adopted] = spool.adopt_orphans()
    assert adopted.path == process_spool.path
    adopted.close()


@pytest.mark.parametrize(
    ("lost", "after"),
    [
        # In no file, and nothing but damage or a dead process's memory can be the reason.
        (True, (10, 4, 1)),
        # A power cut took counters back: most of these were stored, which nothing shows.
        (False, (9, 4, 0)),
    ],
)
def test_what_is_missing_is_never_counted_stored(
    tmp_path: Path, *, lost: bool, after: tuple[int, int, int]
) -> None:
    """Payloads that are pending and in no file are dead, or in no count; the sum balances."""
    counters = Counters.create(tmp_path / "ledger")
    counters.accept(payloads=10, size=1)
    counters[Field.STORED] = 4
    reconcile(counters, missing=1, lost=lost, boot=7)
    assert (counters[Field.ACCEPTED], counters[Field.STORED], counters[Field.DEAD]) == after
    assert Totals([counters.snapshot()]).pending == 5
    assert (counters.boot, counters[Field.DURABLE]) == (7, 1)
    counters.close()
