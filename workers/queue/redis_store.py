"""Segments in Redis: a group of collections is one round trip, and safe once that is answered.

The process that accepts fixes a segment's name, key and line numbers, so receipts stay true
whichever machine uploads it. It is the only writer of its open segments; each append brings a part
number, so that one that is sent twice is appended once.
"""

import logging
import time
import uuid
from collections.abc import Sequence

import msgspec

from workers.dispatch.jobs import Job, Parked
from workers.errors import (
    Full,
    NotConfirmed,
    NotDurable,
    QueueError,
    QueueUnavailable,
    QueueUnconfirmed,
    Refusal,
)
from workers.queue.leases import LEASE_MILLISECONDS, Leases
from workers.queue.queued_body import QueuedBody, part_of, queued
from workers.queue.redis_client import Arg, RedisServer
from workers.queue.redis_health import RedisHealth
from workers.queue.redis_keys import RedisKeys
from workers.queue.redis_reading import find_segment, read_ledger
from workers.segments.future import DurabilityFuture
from workers.segments.segment import Header, Segment
from workers.spool.counters import Field, Totals
from workers.stores.found import Found, found_in_memory
from workers.stores.store import ProcessCounters

log = logging.getLogger(__name__)

# How often an append without an answer is sent, before its requests are answered as not confirmed.
APPENDS = 2
# Open segments that nothing more comes to are looked for so often: an append that arrived late.
SWEEP_SECONDS = 20.0


class RedisStore:
    """One process's view of the queue that all machines share. Implements `Store`."""

    is_shared = True
    segment_bytes: int | None = None

    def __init__(
        self,
        server: RedisServer,
        *,
        counting: ProcessCounters,
        leases: Leases,
        max_bytes: int | None,
        receipt_seconds: int,
        max_keys: int,
        key_seconds: int,
    ) -> None:
        self.counters = counting.counters
        self.refusal: str | None = "the queue has not been reached yet"
        self.server = server
        self._counting = counting
        self._leases = leases
        self._health = RedisHealth(server, max_bytes=max_bytes)
        self._receipt_seconds = receipt_seconds
        # Names this process among all that accept.
        self.writer = uuid.uuid4().hex
        self._open: dict[str, Segment] = {}
        # Sealed here, and not yet there.
        self._unsealed: set[str] = set()
        self._notes: dict[str, str] = {}
        self._sweep_at = 0.0
        self.keys = RedisKeys(server, self, max_keys=max_keys, seconds=key_seconds)
        self.check()

    @property
    def max_bytes(self) -> int:
        """The byte budget of the whole service."""
        return self._health.max_bytes

    @property
    def doubt(self) -> str | None:
        """Why the server's configuration could not be verified."""
        return self._health.unverified

    @property
    def own(self) -> object:
        """The place of all jobs."""
        return self

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes fit, as of the last look; the append looks again."""
        return self._health.held + size <= self.max_bytes

    def create(self, header: Header) -> Segment:
        """Make a segment; nothing is in the queue yet."""
        segment = Segment(header, QueuedBody(self.server, header.name))
        self._open[header.name] = segment
        return segment

    def append(self, group: Sequence[DurabilityFuture]) -> None:
        """Append a group of collections, all or none, in one round trip. Blocks on the network.

        Raises:
            NotDurable, Full: none of it is kept.
            NotConfirmed: whether it is kept is unknown.
        """
        runs: dict[Segment, list[bytes]] = {}
        counts: dict[Segment, int] = {}
        for future in group:
            for run in future.runs:
                runs.setdefault(run.segment, []).append(run.lines)
                counts[run.segment] = counts.get(run.segment, 0) + run.count
        arguments: list[Arg] = [len(runs)]
        for segment, lines in runs.items():
            arguments += part_of(segment, b"".join(lines), count=counts[segment])
        arguments += self.keys.arguments(group)
        self._append(group, arguments)
        for segment, lines in runs.items():
            body = queued(segment)
            body.parts += 1
            body.size += sum(map(len, lines))
            segment.lines += counts[segment]
            segment.size = body.size
        self.keys.commit(group)
        self.counters.add(Field.COMMITS)
        self.counters.add(Field.COMMITTED_COLLECTIONS, len(group))

    def _append(self, group: Sequence[DurabilityFuture], arguments: list[Arg]) -> None:
        lost: QueueUnconfirmed | None = None
        for _ in range(APPENDS):
            try:
                answer = self.server.script(
                    "append",
                    *(self.writer, LEASE_MILLISECONDS, self.max_bytes, *arguments),
                    confirmed=True,
                )
            except QueueUnconfirmed as error:
                lost = error
            except QueueUnavailable as error:
                self.refusal = str(error)
                if lost is None:
                    raise NotDurable(self.refusal) from error
            else:
                if answer == b"ok":
                    return
                if lost is None:
                    raise self._refused(group, answer)
                break
        # Sent and not answered: what is under way may still arrive.
        self.refusal = str(lost)
        raise NotConfirmed(self.refusal) from lost

    def _refused(self, group: Sequence[DurabilityFuture], answer: bytes | list[int]) -> Refusal:
        if isinstance(answer, list):
            self.keys.refuse(group, answer)
            return NotDurable("an Idempotency-Key of the same group was accepted elsewhere")
        if answer == b"full":
            self._health.is_full()
            return Full("the queue holds QUEUE_MAX_BYTES")
        if answer == b"late":
            log.warning("a new segment is older than the watermark")
            return NotDurable("a new segment came too late for the watermark")
        log.warning("segments were sealed by another process: the lease had expired")
        return NotDurable("this process stood still for too long, and has lost its open segments")

    def seal(self, segment: Segment) -> None:
        """Seal a segment: workers of any machine may have it. Blocks on the network."""
        self._open.pop(segment.name, None)
        self.counters.add(Field.HELD_BYTES, -segment.held_bytes)
        self._unsealed.add(segment.name)
        self._seal_all()

    def drop(self, segment: Segment) -> None:
        """Seal a segment without lines: an append that was not answered may have brought some."""
        self.seal(segment)

    def _seal_all(self) -> None:
        names = list(self._unsealed)
        try:
            if names:
                self.server.script("seal", self.writer, *names)
        except QueueError as error:
            # It is tried again every second; and others seal them once the lease has expired.
            log.warning("segments cannot be sealed now", extra={"error": str(error)})
        else:
            self._unsealed.difference_update(names)

    def job(self, segment: Segment) -> None:
        """Return None: the process that takes it from the queue has the job. Does not block."""

    def finish(self, job: Job, *, stored: int, dead: int) -> None:
        """Count what became of a job's lines and remove them; nothing where the lease is lost.

        Raises:
            QueueUnavailable, QueueUnconfirmed: it may be tried again.
        """
        header = job.segment.header
        done = {"state": "stored" if stored else "dead", "stored_at": time.time()}
        done_by_us = self.server.script(
            "finish",
            *(self._leases.token, header.name, stored, dead, self._notes.get(header.name, "")),
            *(msgspec.json.encode(done), self._receipt_seconds),
        )
        self._notes.pop(header.name, None)
        self._leases.drop([header.name])
        if not done_by_us:
            log.info("another worker has the segment now", extra={"segment": header.name})

    def keep_dead(self, job: Job, reason: str) -> None:
        """Note why a job's lines become a dead letter: `finish` leaves them in the queue."""
        segment = job.segment
        note = {**msgspec.to_builtins(segment.header), "reason": reason, "payloads": segment.lines}
        self._notes[segment.name] = msgspec.json.encode(note).decode()

    def quarantine(self, segment: Segment, reason: str) -> None:
        """Say so: the engine keeps what it was given."""
        log.critical("a segment is damaged", extra={"segment": segment.name, "reason": reason})

    def park(self, job: Job, reason: str) -> Parked:
        """Return what is kept of a job that cannot go now; its lease is renewed meanwhile."""
        self._leases.park(job.segment.name)
        return Parked.of(job, reason=reason, segment=job.segment, held_bytes=0)

    def load(self, parked: Parked) -> Job | None:
        """Make a parked job whole again; None where its lease is lost or given back."""
        if parked.segment is None or parked.name not in self._leases:
            return None
        return parked.job(parked.segment)

    def find(self, name: str) -> Segment | None:
        """Return the open segment `name` if it is this process's. Does not block."""
        return self._open.get(name)

    def look(self, name: str) -> Found | None:
        """Say what became of the segment `name`. Blocks on the network.

        Raises:
            QueueUnavailable: the engine does not answer.
        """
        held = self.find(name)
        if held is not None and held.lines:
            return found_in_memory(held)
        return find_segment(self.server, name)

    def totals(self) -> Totals:
        """Return the service's ledger, and what this machine has counted. Blocks.

        Raises:
            QueueUnavailable: the engine does not answer.
        """
        return Totals([read_ledger(self.server, self._counting.totals().cells)])

    def unfinished(self) -> list[Segment]:
        """Return this process's open segments, oldest first."""
        return list(self._open.values())

    def check(self) -> None:
        """See whether the engine takes anything, and how full it is. Blocks on the network."""
        self.refusal = self._health.look()
        if self.refusal is None:
            self._seal_all()
            if is_due := time.monotonic() >= self._sweep_at:
                self._sweep_at = time.monotonic() + SWEEP_SECONDS
                self._sweep()
            self.keys.sweep(is_due=is_due)

    def _sweep(self) -> None:
        """Keep the lease as a writer, and seal what an append that arrived late has opened."""
        try:
            self.server.script("renew_writer", self.writer, LEASE_MILLISECONDS)
            found = self.server.call("SMEMBERS", f"{self.server.prefix}open:{self.writer}")
        except QueueError:
            return
        self._unsealed |= {name.decode() for name in found} - self._open.keys()
        self._seal_all()

    def persist(self) -> None:
        """At a stop: seal what could not be sealed. Blocks on the network; does not raise."""
        self._seal_all()
        self.keys.sweep(is_due=False)

    def close(self) -> None:
        """End the connection, and leave this process's counts to the machine."""
        self._health.close()
        self.server.forget()
        self._counting.close()
