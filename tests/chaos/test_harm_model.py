"""The model with harmed files, and its mutants, each of which takes one check away.

A file may be of another version, unreadable for a time, cut between frames, or rotten at its end.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.harness.figures import Terms
from tests.chaos.model.findings import Figures
from tests.chaos.model.harm import HarmedTrial
from tests.chaos.model.run import run_model
from tests.chaos.runs.unknown_formats import unknown_formats
from workers.spool import frames, recovery
from workers.spool.counters import Counters, Field
from workers.spool.segment_file import SegmentFile
from workers.spool.survey import Survey

pytestmark = pytest.mark.chaos

# In parts, which run beside one another.
PARTS, TRIALS = range(4), 100


@pytest.mark.parametrize("part", PARTS)
def test_only_what_was_harmed_is_lost_and_it_is_dead(part: int) -> None:
    """Damage to one file costs its lines at most, and no count says stored of them."""
    figures = run_model(TRIALS, seed=part * TRIALS, make=HarmedTrial)
    assert figures.acknowledged > 50 * TRIALS
    assert (figures.lost, figures.stored_twice, figures.faults) == (0, 0, ())


# --- Mutants --------------------------------------------------------------------------------------

# Each is caught within 26 trials from here on.
MUTANT_TRIALS, MUTANT_SEED = 1000, 2_000_179


def is_caught() -> bool:
    """Run trials until one is broken."""
    seeds = range(MUTANT_SEED, MUTANT_SEED + MUTANT_TRIALS)
    return any(_is_broken(run_model(1, seed, make=HarmedTrial)) for seed in seeds)


def _is_broken(figures: Figures) -> bool:
    return bool(figures.lost or figures.stored_twice or figures.faults)


def test_the_model_catches_unknown_formats_taken_for_damage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What another version wrote is then cut, moved or removed."""
    monkeypatch.setattr(frames, "_is_foreign", lambda *_, **__: False)
    assert is_caught()


def test_the_model_catches_a_file_that_is_believed_without_its_seal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file that lacks a frame is then uploaded as whole, and its lines move up."""

    def read(self: SegmentFile) -> Iterator[bytes]:
        with self._disk.open(self.path) as file:
            for frame in frames.read(file, self._seed):
                if frame.mark == frames.LINES:
                    yield frame.body

    monkeypatch.setattr(SegmentFile, "read", read)
    assert is_caught()


def test_the_model_catches_missing_payloads_that_are_called_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is in no file is counted stored, as if it had been seen in S3."""

    def reconcile(counters: Counters, *, missing: int, lost: bool, boot: int) -> None:
        del lost
        counters.add(Field.STORED, missing)
        counters.boot = boot
        counters.flush()

    monkeypatch.setattr(recovery, "reconcile", reconcile)
    assert is_caught()


def test_the_model_catches_a_boot_that_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a kill, missing payloads are then taken for what a power cut took back."""
    monkeypatch.setattr(Counters, "boot", property(lambda _: 0, lambda _, __: None))
    assert is_caught()


def test_the_model_catches_an_unreadable_file_that_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What cannot be read now is then accounted for as lost, and again once it is found."""
    real = recovery.Recovery._inspect

    def inspect(self: recovery.Recovery, files: list[SegmentFile]) -> tuple[Any, Any]:
        return real(self, files)[0], []

    monkeypatch.setattr(recovery.Recovery, "_inspect", inspect)
    assert is_caught()


def test_the_model_catches_damage_that_nobody_can_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rot at the end is then cut off, and a file with nothing else in it is removed."""

    def is_damaged(_: object, file: SegmentFile, survey: Survey) -> bool:
        del file
        return survey.damaged

    monkeypatch.setattr(recovery.Recovery, "_is_damaged", is_damaged)
    assert is_caught()


def test_the_model_of_harm_is_a_chaos_run(tmp_path: Path) -> None:
    """Its figures arrive in the table's form."""
    figures = unknown_formats(Terms(seconds=0.5, seed=1, workdir=tmp_path))
    assert figures.clean
    assert figures.faults > 0
