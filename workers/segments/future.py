"""A collection's way to safety: where its lines go, and who is told once they are there.

Only data and one lock each; whoever takes collections gives tickets, a journal settles them.
"""

import logging
import threading
from collections.abc import Callable

import msgspec

from workers.errors import NotDurable
from workers.segments.segment import Receipt, Segment

log = logging.getLogger(__name__)


class Run(msgspec.Struct, frozen=True, gc=False):
    """Consecutive lines of one collection that go to one segment.

    A msgspec.Struct: a frozen dataclass takes five times as long to make.
    """

    segment: Segment
    first_line: int
    lines: bytes
    count: int


class Ticket:
    """One collection's place in the queue for the disk; `runs` say where its `size` bytes go."""

    __slots__ = ("_act", "_guard", "refused", "runs", "settled", "size")

    def __init__(self, runs: list[Run], *, settled: bool = False) -> None:
        self.runs = runs
        self.size = sum([len(run.lines) for run in runs])
        self.settled = settled
        self.refused: str | None = None
        self._act: Callable[[Ticket], None] | None = None
        self._guard = threading.Lock()

    def receipts(self) -> list[Receipt]:
        """Return where the lines are going to be; worth giving out once they are safe."""
        return [Receipt(run.segment.header, run.first_line, run.count) for run in self.runs]

    def settle(self, refused: str | None = None) -> None:
        """Say that the lines are safe, or refused for a reason. The first word holds."""
        with self._guard:
            if self.settled:
                return
            self.refused = refused
            self.settled = True
            act = self._act
        if act is not None:
            self._do(act)

    def then(self, act: Callable[["Ticket"], None]) -> None:
        """Have `act` called once, when the ticket is settled: now, or by the committer's thread.

        So nobody need sleep through the sync. `act` must be quick.
        """
        with self._guard:
            if not self.settled:
                self._act = act
                return
        self._do(act)

    def wait(self) -> None:
        """Block until the lines are safe.

        Raises:
            NotDurable: they are not, and none of them is kept.
        """
        if not self.settled:
            # A bare lock is the cheapest thing a thread can sleep on.
            asleep = threading.Lock()
            asleep.acquire()
            self.then(lambda _: asleep.release())
            asleep.acquire()
        if self.refused is not None:
            raise NotDurable(self.refused)

    def _do(self, act: Callable[["Ticket"], None]) -> None:
        # The committer must outlive whatever is wrong with one answer.
        try:
            act(self)
        except Exception:
            log.exception("an answer failed")
