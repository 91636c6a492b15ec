"""Runs trials in a row, and adds up what they found."""

import contextlib
import logging
from collections.abc import Callable, Iterator

from tests.chaos.model.findings import Figures
from tests.chaos.model.trial import Trial


def run_model(
    trials: int,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
    *,
    make: Callable[[int], Trial] | None = None,
) -> Figures:
    """Run the trials `seed`, `seed + 1`, ...; call `progress` after each with their number. Blocks.

    A run that keeps the promise has none lost, none stored twice and no `faults`.
    """
    acknowledged = lost = twice = cuts = 0
    faults: list[str] = []
    with _unlogged():
        for number in range(trials):
            trial = (make or Trial)(seed + number)
            found = trial.run()
            acknowledged += len(trial.acknowledged)
            lost += len(found.lost)
            twice += len(found.twice)
            cuts += trial.cuts
            faults += [f"trial {seed + number}: {fault}" for fault in found.faults]
            if progress is not None:
                progress(number + 1)
    return Figures(
        trials=trials,
        acknowledged=acknowledged,
        lost=lost,
        stored_twice=twice,
        cuts=cuts,
        faults=tuple(faults),
    )


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """Keep what goes wrong on purpose, some hundred thousand times, out of the log."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
