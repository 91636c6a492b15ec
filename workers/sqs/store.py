"""Segments that become messages: in memory until they are sent, then the queue's.

A message is in the queue until the object of its segment is verified. What is delivered twice is
put twice: the second PUT meets `If-None-Match`.
"""

import logging
import threading
from collections.abc import Callable, Sequence

from workers.dispatch.jobs import Job, Parked
from workers.errors import (
    NotConfirmed,
    NotDurable,
    QueueError,
    QueueUnconfirmed,
    Refusal,
)
from workers.segments.future import DurabilityFuture
from workers.segments.segment import Header, MemoryBody, Segment
from workers.spool.counters import Field, Totals
from workers.sqs.client import SqsQueue
from workers.sqs.health import SqsHealth
from workers.sqs.message import SEGMENT_LINES_BYTES, Message, ReceivedBody
from workers.stores.found import Found
from workers.stores.store import ProcessCounters

log = logging.getLogger(__name__)

# How often a message without an answer is sent.
SENDS = 2
# A dead letter's message is hidden for so long, and then tried again; AWS takes 12 hours at most,
# from the receive on.
DEAD_SECONDS = 10 * 3600


class AwaitedSegment(MemoryBody):
    """The lines of a segment that is not sent yet, and the collections that wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.futures: list[DurabilityFuture] = []


class InFlight:
    """The segments that this process has received and not finished. Thread-safe."""

    def __init__(self) -> None:
        self._segments: dict[str, Segment] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._segments)

    def has(self, segment: Segment) -> bool:
        """Whether this receive of a segment is the one that counts."""
        return self._segments.get(segment.name) is segment

    def add(self, segment: Segment) -> bool:
        """Take note of a segment; one that is there already only gets its newer handle."""
        with self._lock:
            held = self._segments.setdefault(segment.name, segment)
            if held is not segment:
                received(held).handle = received(segment).handle
            return held is segment

    def drop(self, segment: Segment) -> bool:
        """Forget a segment; False where that was done."""
        with self._lock:
            if self._segments.get(segment.name) is not segment:
                return False
            del self._segments[segment.name]
            return True

    def all(self) -> list[Segment]:
        """Return all of them."""
        with self._lock:
            return list(self._segments.values())


class SqsStore:
    """One process's side of the queue. Implements `Store`; the ledger is of this machine."""

    is_shared = True
    # No request has an Idempotency-Key.
    keys = None
    segment_bytes: int | None = SEGMENT_LINES_BYTES

    def __init__(
        self,
        sqs: SqsQueue,
        *,
        counting: ProcessCounters,
        in_flight: InFlight,
        max_bytes: int,
        parked: Callable[[str], None],
    ) -> None:
        self.counters = counting.counters
        self._counting = counting
        self._sqs = sqs
        self._in_flight = in_flight
        self._max_bytes = max_bytes
        self._on_parked = parked
        self._held: dict[str, Segment] = {}
        self._health = SqsHealth(sqs)
        self.refusal = self._health.look()

    @property
    def max_bytes(self) -> int:
        """What may be in this process's memory."""
        return self._max_bytes

    @property
    def doubt(self) -> str | None:
        """Why the queue's configuration could not be verified."""
        return self._health.unverified

    @property
    def own(self) -> object:
        """The place of all jobs."""
        return self

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes fit into memory."""
        return self.counters[Field.HELD_BYTES] + size <= self._max_bytes

    def create(self, header: Header) -> Segment:
        """Make a segment in memory."""
        segment = Segment(header, AwaitedSegment())
        self._held[header.name] = segment
        return segment

    def append(self, group: Sequence[DurabilityFuture]) -> None:
        """Keep the lines of a group, and who waits for them; nothing is sent. Does not block."""
        for future in group:
            for run in future.runs:
                body = run.segment.body
                assert isinstance(body, AwaitedSegment)
                body.chunks.append(run.lines)
                run.segment.lines += run.count
                run.segment.size += len(run.lines)
                if not body.futures or body.futures[-1] is not future:
                    body.futures.append(future)

    def send(
        self, batch: Sequence[tuple[Segment, Message]], *, again: Callable[[], bool]
    ) -> list[Refusal | None]:
        """Send messages together; return what became of each. Blocks on the network.

        What was not answered is sent once more with the same content, if there is time `again`: a
        segment that is in the queue twice is stored once.
        """
        results: list[QueueError | None] = [QueueUnconfirmed("not sent")] * len(batch)
        left, was_sent = list(range(len(batch))), False
        for attempt in range(SENDS):
            if attempt and not again():
                break
            try:
                answers = self._sqs.send([batch[number][1] for number in left])
            except QueueError as error:
                answers = [error] * len(left)
            for number, answer in zip(left, answers, strict=True):
                # The one sent before may be in the queue, though this one is refused.
                if answer is None or not was_sent or isinstance(answer, QueueUnconfirmed):
                    results[number] = answer
            left = [n for n in left if isinstance(results[n], QueueUnconfirmed)]
            was_sent = True
            if not left:
                break
        return [
            self._sent(segment, result) for (segment, _), result in zip(batch, results, strict=True)
        ]

    def _sent(self, segment: Segment, result: QueueError | None) -> Refusal | None:
        if result is None:
            self.counters.accept(payloads=segment.lines, size=segment.size)
            self.counters.add(Field.COMMITS)
            self.counters.add(Field.COMMITTED_COLLECTIONS, len(_awaited(segment).futures))
            return None
        self.refusal = self._health.failed(str(result))
        is_unknown = isinstance(result, QueueUnconfirmed)
        return NotConfirmed(str(result)) if is_unknown else NotDurable(str(result))

    def forget(self, segment: Segment) -> None:
        """Free a segment that is in the queue, or refused."""
        if self._held.pop(segment.name, None) is not None:
            self.counters.add(Field.HELD_BYTES, -segment.held_bytes)
            segment.body.discard()

    def seal(self, segment: Segment) -> None:
        """Do nothing: the committer sends it."""

    def drop(self, segment: Segment) -> None:
        """Free a segment without lines."""
        self.forget(segment)

    def job(self, segment: Segment) -> None:
        """Return None: the process that receives its message has the job. Does not block."""

    def finish(self, job: Job, *, stored: int, dead: int) -> None:
        """Delete a job's message, or hide a dead letter's, and count. Blocks on the network.

        Raises:
            QueueUnavailable, QueueUnconfirmed: it may be tried again.
        """
        segment = job.segment
        handle = received(segment).handle
        if dead:
            self._sqs.hide(handle, seconds=DEAD_SECONDS)
        else:
            self._sqs.delete(handle)
        if self._in_flight.drop(segment):
            self.counters.add(Field.STORED, stored)
            self.counters.add(Field.DEAD, dead)

    def keep_dead(self, job: Job, reason: str) -> None:
        """Do nothing: the message stays in the queue, and the bucket gets a note."""

    def quarantine(self, segment: Segment, reason: str) -> None:
        """Say so: the queue keeps what it was given."""
        log.critical("a segment is damaged", extra={"segment": segment.name, "reason": reason})

    def park(self, job: Job, reason: str) -> Parked:
        """Return what is kept of a job that cannot go now; its message stays hidden meanwhile."""
        self._on_parked(job.segment.name)
        return Parked.of(job, reason=reason, segment=job.segment, held_bytes=0)

    def load(self, parked: Parked) -> Job | None:
        """Make a parked job whole again; None where its message was given back."""
        if parked.segment is None or not self._in_flight.has(parked.segment):
            return None
        return parked.job(parked.segment)

    def find(self, name: str) -> Segment | None:
        """Return the segment `name` if it is in memory here, not sent yet. Does not block."""
        return self._held.get(name)

    def look(self, name: str) -> Found | None:
        """Say that a segment is accepted while it is here; a queue cannot be asked for one."""
        return Found("accepted") if name in self._held else None

    def totals(self) -> Totals:
        """Return what this machine has counted: what it accepted, and what it stored."""
        cells = self._counting.totals().cells
        # What a worker stores came in through another machine.
        finished = cells[Field.STORED] + cells[Field.DEAD]
        cells[Field.ACCEPTED] = max(cells[Field.ACCEPTED], finished)
        return Totals([cells])

    def unfinished(self) -> list[Segment]:
        """Return the segments that are not sent yet, oldest first."""
        return list(self._held.values())

    def check(self) -> None:
        """See whether the queue can be used, now and then. Blocks on the network."""
        self.refusal = self._health.look()

    def persist(self) -> None:
        """Do nothing: what is not in the queue was not accepted."""

    def close(self) -> None:
        """Close the connections, and leave this process's counts to the machine."""
        self._sqs.close()
        self._counting.close()


def received(segment: Segment) -> ReceivedBody:
    """Return the body of a segment that came with a message."""
    assert isinstance(segment.body, ReceivedBody)
    return segment.body


def _awaited(segment: Segment) -> AwaitedSegment:
    assert isinstance(segment.body, AwaitedSegment)
    return segment.body
