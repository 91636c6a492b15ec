"""Where processes show themselves: files of the spool, or a queue that machines share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from workers.figures.figures import ProcessFigures, StoredFigures
from workers.figures.history import History
from workers.figures.published import Published
from workers.spool.counters import Totals


class Place(Protocol):
    """One process's side of it, for one thread. Methods block on it, and do not raise.

    `seconds` is how often something is published. A place that `is_slow` can hold its thread up for
    seconds, which is then a thread of its own.
    """

    is_slow: bool
    seconds: float

    @property
    def inherited(self) -> Sequence[StoredFigures]:
        """What processes before this one have stored, where this one has to show it."""
        ...

    def write(self, figures: ProcessFigures) -> None:
        """Replace what this process shows, and note the moment in the history."""
        ...

    def close(self, figures: ProcessFigures) -> None:
        """Say that this process ends; `figures` has its last objects."""
        ...


class LocalPlace:
    """The files of a spool. Implements `Place`; `totals` are the service's sums."""

    is_slow = False
    seconds = 1.0

    def __init__(self, root: Path, *, totals: Callable[[], Totals]) -> None:
        self._published, self._history = Published(root), History(root)
        self._totals = totals

    @property
    def inherited(self) -> Sequence[StoredFigures]:
        """What processes before this one have stored, newest first."""
        return self._published.inherited

    def write(self, figures: ProcessFigures) -> None:
        """Write this process's file, and the moment's slot of the history."""
        self._published.write(figures)
        self._history.note(self._totals)

    def close(self, figures: ProcessFigures) -> None:
        """Write the file a last time: it stays until the next start, for its objects."""
        if self._published.is_open:
            self._published.write(figures)
            self._published.close()
