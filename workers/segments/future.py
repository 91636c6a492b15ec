"""Where a collection's lines go, and the future of their durability.

The intake returns futures, a committer completes them. Data and one lock each.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from workers.errors import Refusal
from workers.segments.partitions import Indexes
from workers.segments.segment import Receipt, Segment

log = logging.getLogger(__name__)


class Run(msgspec.Struct, frozen=True, gc=False):
    """Lines of one collection that go to one segment.

    `indexes` says which payloads they are where the collection goes to several partitions; None
    where the runs have the payloads in their order. A msgspec.Struct: a frozen dataclass takes five
    times as long to make.
    """

    segment: Segment
    first_line: int
    lines: bytes
    count: int
    indexes: Indexes | None = None


class KeyClaim(Protocol):
    """A request's claim on its Idempotency-Key; `packed` are the key records of its runs.

    `place` is what is locked for it.
    """

    place: int
    packed: Sequence[bytes]

    def pack(self, runs: Sequence[Run]) -> Sequence[bytes]:
        """Make the records of the runs; return their entries for the key log."""
        ...

    def settle(self, refusal: Refusal) -> None:
        """Give the key up if nothing was kept."""
        ...

    def all_runs(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Return the request's runs, those that were accepted before a crash too."""
        ...


# What is called with a future that is done.
Callback = Callable[["DurabilityFuture"], None]


class Owner(Protocol):
    """What goes on with its futures when they are done, those of a group together."""

    def on_done(self, callback: Any, future: "DurabilityFuture") -> None:
        """Go on with one."""

    def on_group_done(self, done: Sequence[tuple[Any, "DurabilityFuture"]]) -> None:
        """Go on with those of a group, each with its callback."""


class OwnedCallback(msgspec.Struct):
    """A callback of an owner, who has many of them."""

    owner: Owner

    def __call__(self, future: "DurabilityFuture") -> None:
        """Go on with one future."""
        self.owner.on_done(self, future)


class DurabilityFuture:
    """One collection on its way to durability; `runs` say where its `size` bytes go.

    `callback` is called once, when this is done, in the thread that completes it; it must be quick.
    Without one a thread may wait for the `result`. That is settled here and never changes, so one
    thread alone, which completes this, writes to it: no lock is needed, with or without a GIL.
    `claim` is the collection's on its Idempotency-Key; the store ends it where it is accepted.
    """

    __slots__ = ("_waiting", "callback", "claim", "done", "exception", "runs", "size")

    def __init__(
        self,
        runs: list[Run],
        callback: Callback | None = None,
        *,
        claim: KeyClaim | None = None,
    ) -> None:
        self.runs = runs
        self.claim = claim
        self.size = len(runs[0].lines)
        if len(runs) > 1:
            self.size = sum(len(run.lines) for run in runs)
        self.done = False
        self.exception: Refusal | None = None
        self.callback = callback
        if callback is None:
            # A bare lock is the cheapest thing for a thread to block on.
            self._waiting = threading.Lock()
            self._waiting.acquire()

    def receipts(self) -> list[Receipt]:
        """Return where the lines will be stored; only valid for a client once they are durable."""
        return [Receipt(run.segment.header, run.first_line, run.count) for run in self.runs]

    def set_result(self) -> None:
        """Mark the lines durable. Later calls are ignored."""
        if not self.done:
            self._finish()

    def set_exception(self, exception: Refusal) -> None:
        """Mark the collection refused: none of its lines is kept. Later calls are ignored."""
        if not self.done:
            self.exception = exception
            if self.claim is not None:
                self.claim.settle(exception)
            self._finish()

    def result(self) -> list[Receipt]:
        """Block until the lines are durable, and return their receipts.

        Only for a future without a callback.

        Raises:
            NotDurable: they are not, and none of them is kept.
        """
        with self._waiting:
            if self.exception is not None:
                raise self.exception
        return self.receipts()

    def _finish(self) -> None:
        self.done = True
        if self.callback is None:
            self._waiting.release()
        else:
            _call(self.callback, self)


def set_results(futures: Sequence[DurabilityFuture]) -> None:
    """Mark a group's lines durable; each owner is called once."""
    owned: dict[Owner, list[tuple[OwnedCallback, DurabilityFuture]]] = {}
    for future in futures:
        callback = future.callback
        if not isinstance(callback, OwnedCallback):
            future.set_result()
        elif not future.done:
            future.done = True
            owned.setdefault(callback.owner, []).append((callback, future))
    for owner, done in owned.items():
        _call(owner.on_group_done, done)


def _call(callback: Callable[[Any], None], given: Any) -> None:
    """Call back. An error in a response must not end the committer."""
    try:
        callback(given)
    except Exception:
        log.exception("a response failed")
