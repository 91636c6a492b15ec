"""Groups collections on their way into a store: one append, and so one sync, serves many requests.

A committer takes whole collections and returns a future; the response is sent when it is done.
"""

import logging
import queue
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from workers.errors import NotConfirmed, NotDurable, Refusal
from workers.segments.future import Callback, DurabilityFuture, KeyClaim, Run, set_results
from workers.segments.segment import Segment
from workers.stores.store import Store

log = logging.getLogger(__name__)

# One group holds at most this many collections, so that a flood cannot starve the first in line.
MAX_GROUP = 512
# After a group of this many, more are on their way: so long a wait for them saves syncs. A client
# alone, or a few, would only wait longer for their answers.
BUSY_GROUP, GATHER_SECONDS = 4, 100e-6


class Journal(Protocol):
    """What the intake needs of a committer. Calls come under the intake's lock; none blocks.

    `is_inline`: what is appended is as safe as it will be when `append` returns, and its future is
    completed by the intake.
    """

    is_inline: bool

    @property
    def waiting_bytes(self) -> int:
        """Bytes of lines that are in memory until they are safe elsewhere."""
        ...

    def append(
        self,
        runs: list[Run],
        callback: Callback | None = None,
        *,
        claim: KeyClaim | None = None,
    ) -> DurabilityFuture:
        """Take one collection; its future is done once it is as safe as it will be."""
        ...

    def seal(self, segment: Segment, *, drop: bool = False) -> None:
        """End a segment behind all that was appended to it; it is `frozen` soon after.

        `drop` removes it: it has no lines and is not a job.
        """
        ...

    def run(self) -> None:
        """Do what has to be done in a thread, until `stop`; not called where it is inline."""
        ...

    def stop(self) -> None:
        """Let nothing more come at all."""
        ...

    def refuse_all(self, reason: str) -> None:
        """Answer what waits, now and later: `run` has ended, and nothing may wait for it."""
        ...


class InlineCommitter:
    """Appends each collection as a group of its own, at once, under the intake's lock.

    For a store that does not block: handing over to a thread would cost more than the append.
    """

    is_inline = True
    # The byte budget bounds what is in memory.
    waiting_bytes = 0

    def __init__(self, store: Store) -> None:
        self._store = store

    def append(
        self,
        runs: list[Run],
        callback: Callback | None = None,
        *,
        claim: KeyClaim | None = None,
    ) -> DurabilityFuture:
        """Append one collection."""
        future = DurabilityFuture(runs, callback, claim=claim)
        try:
            self._store.append((future,))
        except Refusal as refusal:
            _fail([future], refusal)
        return future

    def seal(self, segment: Segment, *, drop: bool = False) -> None:
        """Seal a segment, or drop it."""
        _seal(self._store, segment, drop=drop)

    def run(self) -> None:
        """Return at once: nothing is left to do."""

    def stop(self) -> None:
        """Do nothing: nothing is under way."""

    def refuse_all(self, reason: str) -> None:
        """Do nothing: nothing waits."""


class Ending(NamedTuple):
    """The end of a segment in the committer's inbox."""

    segment: Segment
    drop: bool


class Committer:
    """Appends as one group what has arrived while the group before was appended.

    `run` is the body of the thread `committer`. `sleep` blocks for some seconds.
    """

    is_inline = False

    def __init__(self, store: Store, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._store = store
        self._sleep = sleep
        # How many collections the last group had.
        self._last_group = 0
        # Each has one writer: the holder of the intake's lock, and the committer.
        self._appended_bytes = self._settled_bytes = 0
        self._inbox: queue.SimpleQueue[DurabilityFuture | Ending | None] = queue.SimpleQueue()
        self._in_hand: list[DurabilityFuture] = []
        # Some segment may have lost lines.
        self._has_failed = False
        self._ended = False

    @property
    def waiting_bytes(self) -> int:
        """Bytes of lines that wait for the store."""
        return self._appended_bytes - self._settled_bytes

    def append(
        self,
        runs: list[Run],
        callback: Callback | None = None,
        *,
        claim: KeyClaim | None = None,
    ) -> DurabilityFuture:
        """Queue one collection for the next group."""
        future = DurabilityFuture(runs, callback, claim=claim)
        self._appended_bytes += future.size
        self._inbox.put(future)
        return future

    def seal(self, segment: Segment, *, drop: bool = False) -> None:
        """Queue the end of a segment, behind all that was appended to it."""
        self._inbox.put(Ending(segment, drop))
        if self._ended:
            # Its worker must not wait; a file that is not sealed stays for the next start.
            segment.frozen.set()

    def stop(self) -> None:
        """Let `run` return once everything queued so far is done."""
        self._inbox.put(None)

    def run(self) -> None:
        """Commit group after group until `stop`."""
        while self.step():
            pass

    def step(self) -> bool:
        """Wait for something to do, then commit it as one group. False after `stop`."""
        futures: list[DurabilityFuture] = []
        endings: list[Ending] = []
        item = self._inbox.get()
        if self._last_group >= BUSY_GROUP:
            self._sleep(GATHER_SECONDS)
        while item is not None:
            if isinstance(item, DurabilityFuture):
                futures.append(item)
            else:
                endings.append(item)
            if len(futures) >= MAX_GROUP:
                break
            try:
                item = self._inbox.get_nowait()
            except queue.Empty:
                break
        self._in_hand = futures
        self._last_group = len(futures)
        size = sum([future.size for future in futures])
        self._commit(self._refuse_failed(futures))
        for segment, drop in endings:
            _seal(self._store, segment, drop=drop)
        self._settled_bytes += size
        return item is not None

    def refuse_all(self, reason: str) -> None:
        """Answer what waits, now and later: the thread has ended, and nothing may wait for it."""
        self._ended = True
        _fail(self._in_hand, NotConfirmed(reason))
        while True:
            try:
                item = self._inbox.get_nowait()
            except queue.Empty:
                return
            if isinstance(item, DurabilityFuture):
                item.set_exception(NotConfirmed(reason))
            elif item is not None:
                item.segment.frozen.set()

    def _commit(self, futures: list[DurabilityFuture]) -> None:
        """Append a group to the store and answer for it."""
        if not futures:
            return
        try:
            self._store.append(futures)
        except Refusal as refusal:
            self._has_failed = True
            _fail(futures, refusal)
        except Exception as error:
            log.exception("commit failed")
            self._has_failed = True
            _fail(futures, NotConfirmed(f"{type(error).__name__}: {error}"))
        else:
            set_results(futures)

    def _refuse_failed(self, futures: list[DurabilityFuture]) -> list[DurabilityFuture]:
        """Refuse what was given line numbers behind lines that never were written."""
        if not self._has_failed:
            return futures
        good = []
        for future in futures:
            if any(run.segment.write_failed for run in future.runs):
                reason = self._store.refusal or "the spool took no more"
                _fail([future], NotDurable(reason))
            else:
                good.append(future)
        return good


def _fail(futures: list[DurabilityFuture], refusal: Refusal) -> None:
    for future in futures:
        for run in future.runs:
            run.segment.write_failed = True
        future.set_exception(refusal)


def _seal(store: Store, segment: Segment, *, drop: bool) -> None:
    try:
        if drop:
            store.drop(segment)
        else:
            store.seal(segment)
    finally:
        segment.frozen.set()
