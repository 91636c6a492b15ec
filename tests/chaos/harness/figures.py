"""What a chaos run is given and what it returns. Knows nothing of the service."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.launch import Launch
from tests.support.launch.execute import execute


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a run is given: how long it lasts, the seed, where its files go, the engine.

    `launch` is how services are started.
    `progress` is called with the faults and the payloads acknowledged so far, None if not known.
    """

    seconds: float
    seed: int
    workdir: Path
    engine: str = "granian"
    progress: Callable[[int, int | None], None] | None = None
    launch: Launch = execute


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a run found: payloads but for the faults."""

    name: str
    # Kills, signals, outages, cuts; and the requests that S3 failed on purpose.
    faults: int = 0
    s3_faults: int = 0
    acknowledged: int = 0
    # Payloads of requests without an answer, or with one that says so.
    not_confirmed: int = 0
    # Idempotency keys that were answered, one way each.
    keys: int = 0
    lost: int = 0
    stored_twice: int = 0
    refused_but_stored: int = 0
    # Not where the receipt says, or not as it was sent.
    misplaced: int = 0
    ledger_ok: bool = True
    # Everything that is wrong, as sentences.
    complaints: Sequence[str] = ()
    # Why the run could not be carried out.
    skipped: str = ""

    @property
    def clean(self) -> bool:
        """Whether every promise was kept, and there was one to keep."""
        wrong = self.lost or self.stored_twice or self.refused_but_stored or self.misplaced
        kept = self.ledger_ok and not wrong and not self.complaints
        return bool(self.skipped) or (kept and self.faults > 0 and self.acknowledged > 0)


Run = Callable[[Terms], Figures]
_RUNS: dict[str, Run] = {}
RUNS: Mapping[str, Run] = _RUNS


def chaos_run(name: str) -> Callable[[Run], Run]:
    """Register a function as the run that `python -m tests.chaos NAME` carries out."""

    def register(run: Run) -> Run:
        assert name not in _RUNS, f"there are two runs of the name {name}"
        _RUNS[name] = run
        return run

    return register
