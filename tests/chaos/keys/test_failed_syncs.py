"""The model with keys on a disk whose syncs fail, and restarts on the same boot after that."""

from pathlib import Path

import pytest

from tests.chaos.keys.failing_trial import FailingTrial
from tests.chaos.model.run import run_model
from workers.spool import recovery
from workers.spool.disk import Disk

pytestmark = pytest.mark.chaos

TRIALS = 60
# A mutant is caught at its first broken trial.
MUTANT_TRIALS = 500
MUTANT_SEED = 2_000_000


def test_each_key_is_answered_and_stored_once_after_failed_syncs() -> None:
    """The next start decides what a failed sync left; a later power cut changes nothing of it."""
    trials: list[FailingTrial] = []

    def make(seed: int) -> FailingTrial:
        trials.append(FailingTrial(seed))
        return trials[-1]

    figures = run_model(TRIALS, make=make)
    assert (figures.lost, figures.stored_twice, figures.faults) == (0, 0, ())
    assert sum(trial.failures for trial in trials) > TRIALS / 2


def test_the_model_catches_files_that_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: what a failed sync left is taken for synced."""

    def not_at_all(path: Path, *, disk: Disk) -> None:
        """Leave the file as it is."""

    monkeypatch.setattr(recovery, "renew", not_at_all)
    seeds = range(MUTANT_SEED, MUTANT_SEED + MUTANT_TRIALS)
    assert not all(FailingTrial(seed).run().clean for seed in seeds)
