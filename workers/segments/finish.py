"""Who waits until segments are finished: collections whose responses say what became of them.

By the segments' names, as a parked segment is not in memory. Data, one lock, and the body of the
thread `timer`; knows no S3 and no disk.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from enum import Enum, auto

from workers.segments.future import DurabilityFuture

log = logging.getLogger(__name__)


class Finish(Enum):
    """What ended a wait."""

    # All of the collection is in S3.
    STORED = auto()
    # Some of it never will be: a dead letter, or damage.
    DEAD = auto()
    # Its time is over; it may be stored later.
    EXPIRED = auto()
    # The process stops, or too many wait already.
    NOT_AWAITED = auto()


class Wait:
    """One collection's wait, for `seconds` at most.

    `callback` is called once, in the thread that ends the wait and with no lock held; it must be
    quick.
    """

    __slots__ = ("_callback", "deadline", "names", "seconds")

    def __init__(self, seconds: float, callback: Callable[[Finish], None]) -> None:
        self.seconds = seconds
        self._callback = callback
        # Of the segments that are not finished yet.
        self.names: set[str] = set()
        # Monotonic.
        self.deadline = 0.0

    def end(self, finish: Finish) -> None:
        """Call back. An error in one response must not end the thread."""
        try:
            self._callback(finish)
        except Exception:
            log.exception("a response failed")


class Finishes:
    """The waits of one process, `limit` at most. Thread-safe; only `run` blocks."""

    def __init__(self, *, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._by_name: dict[str, dict[Wait, None]] = {}
        # By how long they may take: so each is in the order of its deadlines.
        self._by_seconds: dict[float, dict[Wait, None]] = {}
        self._count = 0
        self._is_closed = self._has_ended = self._is_earlier = False
        # What `run` sleeps until.
        self._next = float("inf")

    def add(self, wait: Wait, names: Iterable[str]) -> bool:
        """Begin a wait for all of these segments, none of which can be finished yet.

        Returns:
            False where it cannot begin: to `end` it is left to the caller.
        """
        with self._lock:
            if self._is_closed or self._count >= self._limit:
                return False
            self._count += 1
            wait.names.update(names)
            wait.deadline = self._clock() + wait.seconds
            for name in wait.names:
                self._by_name.setdefault(name, {})[wait] = None
            self._by_seconds.setdefault(wait.seconds, {})[wait] = None
            if wait.deadline < self._next:
                self._is_earlier = True
                self._changed.notify_all()
        return True

    def cancel(self, wait: Wait) -> None:
        """End a wait without a call."""
        with self._lock:
            self._remove(wait)

    def finish(self, name: str, *, stored: bool) -> None:
        """Take note that a segment is finished: stored whole, or not."""
        if name not in self._by_name:
            return
        with self._lock:
            ended = []
            for wait in self._by_name.pop(name, ()):
                wait.names.discard(name)
                if not (stored and wait.names):
                    self._remove(wait)
                    ended.append(wait)
        for wait in ended:
            wait.end(Finish.STORED if stored else Finish.DEAD)

    def expire(self) -> float | None:
        """End the waits whose time is over; return the seconds until the next one's, if any."""
        with self._lock:
            now = self._clock()
            ended = []
            self._next = float("inf")
            for waits in list(self._by_seconds.values()):
                for wait in list(waits):
                    if wait.deadline > now:
                        self._next = min(self._next, wait.deadline)
                        break
                    self._remove(wait)
                    ended.append(wait)
            left = self._next - now if self._by_seconds else None
        for wait in ended:
            wait.end(Finish.EXPIRED)
        return left

    def close(self) -> None:
        """End all waits, and begin no other: a stop must not wait for them."""
        with self._lock:
            self._is_closed = True
            ended = [wait for waits in self._by_seconds.values() for wait in waits]
            for wait in ended:
                self._remove(wait)
        for wait in ended:
            wait.end(Finish.NOT_AWAITED)

    def run(self) -> None:
        """Body of the thread `timer`: end waits in time, until `end`."""
        while not self._has_ended:
            left = self.expire()
            with self._changed:
                self._changed.wait_for(lambda: self._is_earlier or self._has_ended, left)
                self._is_earlier = False

    def end(self) -> None:
        """Let `run` return; there are no waits any more."""
        self.close()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def _remove(self, wait: Wait) -> None:
        """Forget a wait, if it is not forgotten already; the caller holds the lock."""
        waits = self._by_seconds.get(wait.seconds, {})
        if wait not in waits:
            return
        del waits[wait]
        if not waits:
            del self._by_seconds[wait.seconds]
        for name in wait.names:
            others = self._by_name.get(name)
            if others is not None:
                others.pop(wait, None)
                if not others:
                    del self._by_name[name]
        self._count -= 1


class DurableAndFinished:
    """Joins two callbacks: that a collection is durable, and how its wait ended.

    `callback` gets both, once, when both have come. What is not durable is not waited for.
    """

    def __init__(
        self,
        finishes: Finishes,
        *,
        seconds: float,
        callback: Callable[[DurabilityFuture, Finish], None],
    ) -> None:
        self._finishes = finishes
        self._callback = callback
        self._lock = threading.Lock()
        self._future: DurabilityFuture | None = None
        self._finish: Finish | None = None
        self.wait = Wait(seconds, self._on_finish)

    def on_durable(self, future: DurabilityFuture) -> None:
        """Take note that the collection is durable, or refused: `DurabilityFuture`'s callback."""
        if future.exception is not None:
            self._finishes.cancel(self.wait)
        with self._lock:
            finish = self._finish
            if future.exception is not None:
                finish = self._finish = Finish.NOT_AWAITED
            self._future = future
        if finish is not None:
            self._callback(future, finish)

    def _on_finish(self, finish: Finish) -> None:
        with self._lock:
            future, is_first = self._future, self._finish is None
            self._finish = finish
        if future is not None and is_first:
            self._callback(future, finish)
