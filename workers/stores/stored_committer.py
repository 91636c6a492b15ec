"""The committer where a request is answered once its object is in S3: it groups nothing."""

from workers.errors import NotConfirmed
from workers.segments.future import Callback, DurabilityFuture, KeyClaim, Run
from workers.segments.segment import Segment
from workers.stores.stored_store import StoredStore


class StoredCommitter:
    """Hands collections to the store at once; their futures are done when it says so.

    At a stop nothing waits for longer than `stop_seconds`.
    """

    is_inline = False
    # The byte budget bounds what is in memory.
    waiting_bytes = 0

    def __init__(self, store: StoredStore, *, stop_seconds: float) -> None:
        self._store = store
        self._stop_seconds = stop_seconds

    def append(
        self,
        runs: list[Run],
        callback: Callback | None = None,
        *,
        claim: KeyClaim | None = None,
    ) -> DurabilityFuture:
        """Keep one collection; its future is done once all of it is in S3, or its time is over."""
        future = DurabilityFuture(runs, callback, claim=claim)
        self._store.append((future,))
        return future

    def seal(self, segment: Segment, *, drop: bool = False) -> None:
        """End a segment: all that was appended to it is in it."""
        if drop:
            self._store.drop(segment)
        segment.frozen.set()

    def stop(self) -> None:
        """Let `run` return once nothing waits any more."""
        self._store.end(self._stop_seconds)

    def run(self) -> None:
        """Answer what is late, until `stop`."""
        self._store.watch()

    def refuse_all(self, reason: str) -> None:
        """Answer what waits: the thread has ended, and nothing watches the time."""
        self._store.refuse_all(NotConfirmed(reason))
