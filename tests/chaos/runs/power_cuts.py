"""The run of the model of power cuts."""

from collections.abc import Callable
from functools import partial

from tests.chaos.harness.figures import Figures, Terms, chaos_run
from tests.chaos.keys.keyed_trial import KeyedTrial
from tests.chaos.model.findings import Findings
from tests.chaos.model.run import run_model

MODEL_TRIALS_PER_SECOND, KEYED_TRIALS_PER_SECOND = 120, 40


@chaos_run("power-cuts")
def power_cuts(terms: Terms) -> Figures:
    """Run the power-cut model: a simulated disk that forgets what was not synced."""
    trials = round(terms.seconds * MODEL_TRIALS_PER_SECOND)
    progress = terms.progress
    found = run_model(trials, terms.seed, progress and (lambda done: progress(done, None)))
    return Figures(
        name="power cuts (model)",
        faults=found.cuts,
        acknowledged=found.acknowledged,
        lost=found.lost,
        stored_twice=found.stored_twice,
        ledger_ok=not any("ledger" in fault for fault in found.faults),
        complaints=found.faults,
    )


@chaos_run("keyed-power-cuts")
def power_cuts_with_keys(terms: Terms) -> Figures:
    """Run the same model with clients that send keys, and retry each until it is answered."""
    trials = round(terms.seconds * KEYED_TRIALS_PER_SECOND)
    keys = 0

    class Counted(KeyedTrial):
        def run(self) -> Findings:
            nonlocal keys
            found = super().run()
            keys += len(self.answered)
            return found

    progress = terms.progress
    report = None if progress is None else partial(_report, progress)
    found = run_model(trials, terms.seed, report, make=Counted)
    return Figures(
        name="power cuts, with keys (model)",
        faults=found.cuts,
        acknowledged=found.acknowledged,
        keys=keys,
        lost=found.lost,
        stored_twice=found.stored_twice,
        ledger_ok=not any("ledger" in fault for fault in found.faults),
        complaints=found.faults,
    )


def _report(progress: Callable[[int, int | None], None], done: int) -> None:
    progress(done, None)
