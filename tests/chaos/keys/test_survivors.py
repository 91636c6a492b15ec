"""The model with keys where one process outlives the other, and what mutants that brings out."""

import pytest

from tests.chaos.keys.survivor_trial import SurvivorTrial
from tests.chaos.keys.test_key_model import is_caught
from tests.chaos.model.run import run_model
from workers.keys.homes import Homes
from workers.keys.keys import Keys
from workers.keys.recovered import records_of
from workers.spool.counters import Field
from workers.spool.disk import Disk
from workers.spool.segment_file import SegmentFile

pytestmark = pytest.mark.chaos

TRIALS = 40


def test_each_key_is_answered_and_stored_once_by_the_survivor() -> None:
    """A retry that comes before the killed process is recovered waits for that."""
    figures = run_model(TRIALS, make=SurvivorTrial)
    assert (figures.lost, figures.stored_twice, figures.faults) == (0, 0, ())
    assert figures.acknowledged > 10 * TRIALS


def test_the_model_catches_a_process_that_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: a new key is taken although an ended process may have accepted it."""
    monkeypatch.setattr(Homes, "unsettled", lambda *_: False)
    assert is_caught(SurvivorTrial)


def test_the_model_catches_a_mark_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: a process does not say that it writes keys which no log has yet."""
    begin = Keys.begin

    def unmarked(self: Keys, group: object) -> object:
        found = begin(self, group)  # type: ignore[arg-type]
        self._counters[Field.UNLOGGED_KEYS] = 0
        return found

    monkeypatch.setattr(Keys, "begin", unmarked)
    assert is_caught(SurvivorTrial)


def test_the_model_catches_a_name_that_is_not_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: a recovered file's keys are logged before its name is safe."""

    def key_logger(keys: Keys, *, disk: Disk) -> object:
        def log_keys(file: SegmentFile) -> None:
            if (header := file.read_header()) is not None:
                keys.recover(header, records_of(file, disk=disk))

        return log_keys

    monkeypatch.setattr("tests.chaos.model.process.key_logger", key_logger)
    assert is_caught()
