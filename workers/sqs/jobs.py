"""Jobs of the queue: received in the thread `adopter`, offered by the feeder."""

import logging
import time
from collections.abc import Callable

from workers.errors import QueueError
from workers.queue.held_jobs import HeldJobs
from workers.queue.leases import LEASE_SECONDS, RENEW_SECONDS, Leases
from workers.segments.segment import Segment
from workers.sqs.client import Received, SqsQueue
from workers.sqs.message import UnreadableMessage, unpack
from workers.sqs.store import DEAD_SECONDS, InFlight, received

log = logging.getLogger(__name__)

# What is given back because S3 does not take it here is received again after so long.
GIVEN_BACK_SECONDS = 10


class SqsJobs(HeldJobs):
    """Implements `JobSource`: up to `most` segments at one time, hidden from all others.

    A message whose visibility is not renewed is received again, here or elsewhere.
    """

    # A receive waits by itself.
    look_seconds = 0.05

    def __init__(
        self, sqs: SqsQueue, *, leases: Leases, in_flight: InFlight, place: object, most: int
    ) -> None:
        super().__init__(place=place, most=most, holds=in_flight.has)
        self._sqs = sqs
        self._leases = leases
        self._in_flight = in_flight
        self._receive_at = 0.0

    def look(self, *, stopping: Callable[[], bool]) -> None:
        """Renew what is due, give back what is parked for too long, and receive more. Blocks."""
        try:
            if time.monotonic() >= self._renew_at:
                self._renew()
                self._renew_at = time.monotonic() + RENEW_SECONDS
            room = self._most - len(self._in_flight)
            if room > 0 and not stopping() and time.monotonic() >= self._receive_at:
                for message in self._sqs.receive(most=room, visibility_seconds=int(LEASE_SECONDS)):
                    self._take(message)
        except QueueError as error:
            # Messages that cannot be renewed come back to the queue by themselves.
            self._receive_at = time.monotonic() + 1
            log.warning("the queue gives no jobs now", extra={"error": str(error)})

    def close(self) -> None:
        """Give back what is left, for others to receive at once. Blocks on the network."""
        for segment in self._in_flight.all():
            try:
                self._give_back(segment, seconds=0)
            except QueueError as error:
                log.warning("messages come back by themselves", extra={"error": str(error)})
                return

    def _take(self, message: Received) -> None:
        try:
            segment = unpack(message.body, message.lines, handle=message.handle)
        except UnreadableMessage as error:
            # Perhaps a newer version's; it stays in the queue.
            log.critical("a message is no segment", extra={"error": str(error)})
            self._sqs.hide(message.handle, seconds=DEAD_SECONDS)
            return
        if self._in_flight.add(segment):
            self._leases.add(segment.name)
            self._waiting.append(segment)

    def _renew(self) -> None:
        parked = set(self._leases.parked_long())
        # What is finished needs no lease.
        held = {segment.name for segment in self._in_flight.all()}
        self._leases.drop(name for name in self._leases.names() if name not in held)
        for segment in self._in_flight.all():
            if segment.name in parked:
                self._give_back(segment, seconds=GIVEN_BACK_SECONDS)
            elif not self._sqs.hide(received(segment).handle, seconds=int(LEASE_SECONDS)):
                self._forget(segment)

    def _give_back(self, segment: Segment, *, seconds: int) -> None:
        self._forget(segment)
        self._sqs.hide(received(segment).handle, seconds=seconds)

    def _forget(self, segment: Segment) -> None:
        self._in_flight.drop(segment)
        self._leases.drop([segment.name])
