"""Lines in memory whose requests wait for their object. Data; one lock for all."""

import threading
from typing import TYPE_CHECKING

from workers.segments.segment import MemoryBody
from workers.spool.counters import Counters

if TYPE_CHECKING:
    from workers.segments.future import DurabilityFuture


class AwaitedBody(MemoryBody):
    """The lines of one segment, and who waits for it.

    `is_trying`: an attempt is under way. `may_be_stored`: a PUT without a usable answer may have
    taken effect. `is_over`: its requests have been answered, and no attempt begins any more.
    `is_gone`: its lines are freed. It takes no lines from `closes_at` on (monotonic, as the
    `deadline`). Guarded by the store's lock.
    """

    def __init__(
        self, lock: threading.Lock, *, counters: Counters, closes_at: float, deadline: float
    ) -> None:
        super().__init__()
        self.closes_at, self.deadline = closes_at, deadline
        self.futures: list[DurabilityFuture] = []
        self.is_trying = self.may_be_stored = self.is_over = self.is_gone = False
        # Why the last attempt failed.
        self.reason = ""
        # Payloads and bytes, once they are verified.
        self.stored = self.stored_size = 0
        self._lock = lock
        self._counters = counters

    def make_ready(self) -> bool:
        """Begin an attempt; False where its requests have been answered without it."""
        with self._lock:
            self.is_trying = not self.is_over
            return self.is_trying

    def discard(self) -> None:
        """Free the memory, and count what was stored as accepted.

        Called between the two steps of `Counters.begin_finish`, so that the ledger balances at
        every moment, and after a kill.
        """
        super().discard()
        if self.stored:
            self._counters.accept(payloads=self.stored, size=self.stored_size)
            self.stored = 0
