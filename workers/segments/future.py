"""Where a collection's lines go, and the future of their durability.

The intake returns futures, a committer completes them. Data and one lock each.
"""

import logging
import threading
from collections.abc import Callable

import msgspec

from workers.errors import Refusal
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


class DurabilityFuture:
    """One collection on its way to durability; `runs` say where its `size` bytes go."""

    __slots__ = ("_callback", "_lock", "done", "exception", "runs", "size")

    def __init__(self, runs: list[Run], *, done: bool = False) -> None:
        self.runs = runs
        self.size = sum([len(run.lines) for run in runs])
        self.done = done
        self.exception: Refusal | None = None
        self._callback: Callable[[DurabilityFuture], None] | None = None
        self._lock = threading.Lock()

    def receipts(self) -> list[Receipt]:
        """Return where the lines will be stored; only valid for a client once they are durable."""
        return [Receipt(run.segment.header, run.first_line, run.count) for run in self.runs]

    def set_result(self) -> None:
        """Mark the lines durable. Later calls are ignored."""
        self._finish(None)

    def set_exception(self, exception: Refusal) -> None:
        """Mark the collection refused: none of its lines is kept. Later calls are ignored."""
        self._finish(exception)

    def add_done_callback(self, callback: Callable[["DurabilityFuture"], None]) -> None:
        """Call `callback` once, when this is done: now, or later in the committer's thread.

        It must be quick. Only one callback is supported.
        """
        with self._lock:
            if not self.done:
                self._callback = callback
                return
        self._call(callback)

    def result(self) -> list[Receipt]:
        """Block until the lines are durable, and return their receipts.

        Raises:
            NotDurable: they are not, and none of them is kept.
        """
        if not self.done:
            # A bare lock is the cheapest thing for a thread to block on.
            finished = threading.Lock()
            finished.acquire()
            self.add_done_callback(lambda _: finished.release())
            finished.acquire()
        if self.exception is not None:
            raise self.exception
        return self.receipts()

    def _finish(self, exception: Refusal | None) -> None:
        with self._lock:
            if self.done:
                return
            self.exception = exception
            self.done = True
            callback = self._callback
        if callback is not None:
            self._call(callback)

    def _call(self, callback: Callable[["DurabilityFuture"], None]) -> None:
        # An error in one response must not end the committer.
        try:
            callback(self)
        except Exception:
            log.exception("a response failed")
