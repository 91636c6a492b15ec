"""`python -m tests.chaos`: the chaos runs in their long versions, and the table of what they found.

Knows the runs by name, and nothing of what they do.
"""

import argparse
import contextlib
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.chaos.harness.figures import Figures, Terms
from tests.chaos.runs import all_runs

RUNS = all_runs()
# Seven of these, with starting, settling and judging, make about four minutes.
DEFAULT_SECONDS = 25.0
# A terminal has its line rewritten; a file gets a line now and then.
TERMINAL_SECONDS, FILE_SECONDS = 0.2, 10.0
MAX_COMPLAINTS = 10
COLUMNS: Sequence[tuple[str, Callable[[Figures], object]]] = (
    ("run", lambda found: found.name),
    ("faults", lambda found: found.faults),
    ("S3 faults", lambda found: found.s3_faults),
    ("payloads acknowledged", lambda found: found.acknowledged),
    ("not confirmed", lambda found: found.not_confirmed),
    ("keys answered", lambda found: found.keys),
    ("lost", lambda found: found.lost),
    ("stored twice", lambda found: found.stored_twice),
    ("refused but stored", lambda found: found.refused_but_stored),
    ("misplaced", lambda found: found.misplaced),
    ("ledger", lambda found: "balances" if found.ledger_ok else "WRONG"),
    ("verdict", lambda found: "clean" if found.clean else "NOT CLEAN"),
)


class Progress:
    """Shows on standard error how far one run is."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = time.monotonic()
        self._next = 0.0
        self._terminal = sys.stderr.isatty()

    def __call__(self, faults: int, acknowledged: int | None) -> None:
        """Say so, unless it was said a moment ago."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + (TERMINAL_SECONDS if self._terminal else FILE_SECONDS)
            answered = "" if acknowledged is None else f", {acknowledged:,} payloads acknowledged"
            self._say(f"{faults:,} faults{answered}")

    def end(self, found: Figures) -> None:
        """Say how it ended."""
        verdict = "clean" if found.clean else "NOT CLEAN"
        self._say(f"skipped: {found.skipped}" if found.skipped else verdict)
        if self._terminal:
            sys.stderr.write("\n")

    def _say(self, what: str) -> None:
        line = f"{self._name:<12} {time.monotonic() - self._began:5.1f} s  {what}"
        sys.stderr.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the runs that were asked for; return 1 if any promise was broken, else 0."""
    given = _parse(arguments)
    print(f"seed {given.seed}; each run hurts for {given.seconds:g} s", file=sys.stderr)
    found = [_perform(name, given) for name in given.runs or RUNS]
    print("\n".join(table(found)))
    for figures in found:
        for complaint in figures.complaints[:MAX_COMPLAINTS]:
            print(f"\n{figures.name}: {complaint}")
    return 0 if all(figures.clean for figures in found) else 1


def table(found: Sequence[Figures]) -> list[str]:
    """Write the figures as a Markdown table; what was skipped says why."""
    rows = [[name for name, _ in COLUMNS], ["---", *["---:"] * 9, "---", "---"]]
    for figures in found:
        if figures.skipped:
            rows.append([figures.name, *[""] * 10, f"skipped: {figures.skipped}"])
        else:
            cells = [cell(figures) for _, cell in COLUMNS]
            rows.append([f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells])
    return [f"| {' | '.join(row)} |" for row in rows]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=main.__doc__)
    parser.add_argument("runs", nargs="*", metavar="name", help=f"of {', '.join(RUNS)}; none: all")
    parser.add_argument("--seconds", type=float, default=DEFAULT_SECONDS, help="of each run")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 16), help="of chance")
    parser.add_argument("--engine", choices=["granian", "gthread"], default="granian")
    given = parser.parse_args(arguments)
    if unknown := set(given.runs) - set(RUNS):
        parser.error(f"there is no run {', '.join(sorted(unknown))}; there are {', '.join(RUNS)}")
    return given


def _perform(name: str, given: argparse.Namespace) -> Figures:
    """Carry out one run. Its files are kept, and named, if it is not clean."""
    workdir = Path(tempfile.mkdtemp(prefix=f"chaos-{name}-"))
    progress = Progress(name)
    terms = Terms(
        seconds=given.seconds,
        seed=given.seed,
        workdir=workdir,
        engine=given.engine,
        progress=progress,
    )
    try:
        found = RUNS[name](terms)
    except Exception as error:  # noqa: BLE001 (whatever it is, the other runs go on)
        found = Figures(name=name, complaints=[f"broke off: {error!r}"])
    progress.end(found)
    if found.clean:
        shutil.rmtree(workdir)
    else:
        print(f"{name}: its files are in {workdir}", file=sys.stderr)
    return found


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
