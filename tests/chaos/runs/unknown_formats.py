"""The run of the model with harmed files: of another version, unreadable, cut, rotten."""

from tests.chaos.harness.figures import Figures, Terms, chaos_run
from tests.chaos.model.harm import HarmedTrial
from tests.chaos.model.run import run_model

TRIALS_PER_SECOND = 25


@chaos_run("unknown-formats")
def unknown_formats(terms: Terms) -> Figures:
    """Kill processes, and harm what they leave: nothing else is lost, or counted as stored."""
    progress = terms.progress
    made: list[HarmedTrial] = []

    def make(seed: int) -> HarmedTrial:
        made.append(HarmedTrial(seed))
        return made[-1]

    found = run_model(
        max(1, round(terms.seconds * TRIALS_PER_SECOND)),
        terms.seed,
        progress and (lambda done: progress(done, None)),
        make=make,
    )
    return Figures(
        name="unknown formats, damage (model)",
        faults=sum(trial.harms for trial in made),
        acknowledged=found.acknowledged,
        lost=found.lost,
        stored_twice=found.stored_twice,
        ledger_ok=not any("ledger" in fault for fault in found.faults),
        complaints=found.faults,
    )
