"""The committer where a request is answered once the message of its segment is confirmed."""

import queue
import time
from collections.abc import Callable

from workers.errors import NotConfirmed, NotDurable, Refusal
from workers.segments.future import Callback, DurabilityFuture, KeyClaim, Run
from workers.segments.segment import Segment
from workers.sqs.client import MAX_RECEIVED
from workers.sqs.message import MAX_MESSAGE_BYTES, Message, pack
from workers.sqs.store import AwaitedSegment, SqsStore

# Of `REQUEST_SECONDS`: what could not be sent by then is refused without an attempt.
SEND_SHARE = 0.5


class SqsCommitter:
    """Keeps lines in memory until their segment ends; `run` sends those that have ended.

    Messages that wait are sent together, up to ten and a mebibyte.
    """

    is_inline = False

    def __init__(
        self,
        store: SqsStore,
        *,
        request_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sqs = store
        self._seconds = SEND_SHARE * request_seconds
        self._clock = clock
        self._ready: queue.SimpleQueue[Segment | None] = queue.SimpleQueue()
        self._next: tuple[Segment, Message] | None = None
        self._has_ended = False
        # Each has one writer: the holder of the intake's lock, and the committer's thread.
        self._appended_bytes = self._settled_bytes = 0
        # How many segments each collection still waits for; the committer's thread alone.
        self._left: dict[DurabilityFuture, int] = {}

    @property
    def waiting_bytes(self) -> int:
        """Bytes of lines that are not in the queue yet."""
        return self._appended_bytes - self._settled_bytes

    def append(
        self,
        runs: list[Run],
        callback: Callback | None = None,
        *,
        claim: KeyClaim | None = None,
    ) -> DurabilityFuture:
        """Keep one collection; its future is done once all its segments are in the queue."""
        future = DurabilityFuture(runs, callback, claim=claim)
        self._appended_bytes += future.size
        self._sqs.append((future,))
        return future

    def seal(self, segment: Segment, *, drop: bool = False) -> None:
        """End a segment: all that was appended to it is in it."""
        del drop
        segment.frozen.set()
        self._ready.put(segment)

    def stop(self) -> None:
        """Let `run` return once all segments that have ended are sent, or refused."""
        self._ready.put(None)

    def run(self) -> None:
        """Send what has ended, until `stop`."""
        while self.step():
            pass

    def step(self) -> bool:
        """Wait for a segment, then send what is there. False after `stop`."""
        batch: list[tuple[Segment, Message]] = []
        size = 0
        while len(batch) < MAX_RECEIVED:
            found = self._take(wait=not batch)
            if found is None:
                break
            size += found[1].size
            if batch and size > MAX_MESSAGE_BYTES:
                self._next = found
                break
            batch.append(found)
        if batch:
            self._send(batch)
        return not (self._has_ended and self._next is None and self._ready.empty())

    def refuse_all(self, reason: str) -> None:
        """Answer what waits: the thread has ended, and nothing is sent any more."""
        for segment in self._sqs.unfinished():
            for future in _body(segment).futures:
                future.set_exception(NotConfirmed(reason))

    def _take(self, *, wait: bool) -> tuple[Segment, Message] | None:
        """Return the next segment that can still go; None where none is there, or at the end."""
        if self._next is not None:
            found, self._next = self._next, None
            return found
        while not self._has_ended:
            try:
                segment = self._ready.get(block=wait)
            except queue.Empty:
                return None
            if segment is None:
                self._has_ended = True
            elif not segment.lines:
                self._sqs.forget(segment)
            elif self._is_late(segment):
                why = self._sqs.refusal or "the queue is behind"
                self._settle(segment, NotDurable(why))
            else:
                return segment, pack(segment)
        return None

    def _is_late(self, segment: Segment) -> bool:
        return self._clock() - segment.created_at > self._seconds

    def _send(self, batch: list[tuple[Segment, Message]]) -> None:
        oldest = batch[0][0]
        results = self._sqs.send(batch, again=lambda: not self._is_late(oldest))
        for (segment, _), refusal in zip(batch, results, strict=True):
            self._settle(segment, refusal)

    def _settle(self, segment: Segment, refusal: Refusal | None) -> None:
        """Answer the requests that wait for no other segment, or all if it is not in the queue."""
        for future in _body(segment).futures:
            if future.done:
                continue
            segments = len({run.segment for run in future.runs})
            if refusal is not None:
                self._left.pop(future, None)
                # Of a collection over several segments another one may be in the queue.
                future.set_exception(NotConfirmed(str(refusal)) if segments > 1 else refusal)
                continue
            left = self._left.pop(future, segments) - 1
            if left:
                self._left[future] = left
            else:
                future.set_result()
        self._settled_bytes += segment.size
        self._sqs.forget(segment)


def _body(segment: Segment) -> AwaitedSegment:
    assert isinstance(segment.body, AwaitedSegment)
    return segment.body
