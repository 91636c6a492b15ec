"""The committer where a request is answered once its object is in S3: it groups nothing."""

from workers.errors import NotConfirmed
from workers.segments.future import Callback, DurabilityFuture, KeyClaim, Run
from workers.segments.segment import Segment
from workers.stores.committer import Committer
from workers.stores.stored_store import StoredStore


class StoredCommitter(Committer):
    """Hands collections to the store at once; their futures are done when it says so.

    At a stop nothing waits for longer than `stop_seconds`.
    """

    def __init__(self, store: StoredStore, *, stop_seconds: float) -> None:
        super().__init__(store)
        self._stored_store = store
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
        self._stored_store.append((future,))
        return future

    def seal(self, segment: Segment, *, drop: bool = False) -> None:
        """End a segment: all that was appended to it is in it."""
        if drop:
            self._stored_store.drop(segment)
        segment.frozen.set()

    def stop(self) -> None:
        """Let `run` return once nothing waits any more."""
        self._stored_store.end(self._stop_seconds)

    def run(self) -> None:
        """Answer what is late, until `stop`."""
        self._stored_store.watch()

    def refuse_all(self, reason: str) -> None:
        """Answer what waits: the thread has ended, and nothing watches the time."""
        self._stored_store.refuse_all(NotConfirmed(reason))
