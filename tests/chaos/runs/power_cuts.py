"""The run of the model of power cuts."""

from tests.chaos.harness.figures import Figures, Terms, chaos_run
from tests.chaos.model.run import run_model

MODEL_TRIALS_PER_SECOND = 120


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
