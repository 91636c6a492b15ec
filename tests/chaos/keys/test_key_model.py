"""The power-cut model with keys, and its mutants: what the model is worth if the code is wrong."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.chaos.keys.keyed_trial import KeyedTrial
from tests.chaos.model.run import run_model
from tests.chaos.model.trial import Trial
from workers.keys.keys import KeyedGroup, Keys
from workers.keys.log import KeyLog
from workers.segments.future import DurabilityFuture
from workers.spool.segment_file import NO_RECORDS, SegmentFile
from workers.stores.local_store import LocalStore

pytestmark = pytest.mark.chaos

TRIALS = 40
# A mutant is caught at its first broken trial.
MUTANT_TRIALS = 1500
MUTANT_SEED = 2_000_000


def test_each_key_is_answered_and_stored_once() -> None:
    """Power cuts, kills, full disks, bad S3: clients retry each key until it is answered.

    Each payload is stored once, and every answer to a key names the same places.
    """
    trials: list[KeyedTrial] = []

    def make(seed: int) -> KeyedTrial:
        trials.append(KeyedTrial(seed))
        return trials[-1]

    figures = run_model(TRIALS, make=make)
    assert (figures.lost, figures.stored_twice, figures.faults) == (0, 0, ())
    assert figures.cuts > TRIALS / 2
    assert sum(len(trial.answered) for trial in trials) > 10 * TRIALS
    assert sum(trial.replays for trial in trials) > TRIALS


def is_caught(make: Callable[[int], Trial] = KeyedTrial) -> bool:
    """Run trials until one is broken."""
    seeds = range(MUTANT_SEED, MUTANT_SEED + MUTANT_TRIALS)
    return any(_is_broken(seed, make) for seed in seeds)


def _is_broken(seed: int, make: Callable[[int], Trial]) -> bool:
    figures = run_model(1, seed, make=make)
    return bool(figures.lost or figures.stored_twice or figures.faults)


def test_the_model_catches_a_key_before_its_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: the key is logged before the payloads are synced, so a power cut may take them."""
    begin, commit = LocalStore.begin_keys, LocalStore.commit_keys

    def at_once(self: LocalStore, group: Sequence[DurabilityFuture]) -> KeyedGroup | None:
        commit(self, begin(self, group))
        return None

    monkeypatch.setattr(LocalStore, "begin_keys", at_once)
    assert is_caught()


def test_the_model_catches_data_before_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: the payloads are in the file without their record."""
    append = SegmentFile.append

    def without(self: SegmentFile, header: Any, runs: Any, records: Any = NO_RECORDS) -> None:
        del records
        append(self, header, runs)

    monkeypatch.setattr(SegmentFile, "append", without)
    assert is_caught()


def test_the_model_catches_a_log_that_is_not_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: a file is sealed, and so removed, before its keys are safe in the log."""
    monkeypatch.setattr(Keys, "sync", lambda _: None)
    assert is_caught()


def test_the_model_catches_recovered_keys_that_are_not_synced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Mutant: no log is ever synced, that of a recovery either."""
    monkeypatch.setattr(KeyLog, "sync", lambda _: None)
    assert is_caught()


def test_the_model_catches_keys_that_recovery_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: the records in a recovered file are not logged."""
    monkeypatch.setattr(Keys, "recover", lambda *_: None)
    assert is_caught()
