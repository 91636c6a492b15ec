"""Jobs of the shared queue: leased in the thread `adopter`, offered by the feeder."""

import logging
import time
from collections.abc import Callable

import msgspec

from workers.errors import QueueError
from workers.queue.held_jobs import HeldJobs
from workers.queue.leases import LEASE_MILLISECONDS, RENEW_SECONDS, Leases
from workers.queue.queued_body import QueuedBody
from workers.queue.redis_client import RedisServer
from workers.segments.segment import Header, Segment

log = logging.getLogger(__name__)


class RedisJobs(HeldJobs):
    """Implements `JobSource`: what any machine has sealed, up to `most` at one time."""

    look_seconds = 0.25

    def __init__(self, server: RedisServer, *, leases: Leases, place: object, most: int) -> None:
        super().__init__(place=place, most=most, holds=lambda segment: segment.name in leases)
        self._server = server
        self._leases = leases

    def look(self, *, stopping: Callable[[], bool]) -> None:
        """Renew the leases that are due, give back what waits for too long, and take more."""
        try:
            if time.monotonic() >= self._renew_at:
                self._renew()
                self._renew_at = time.monotonic() + RENEW_SECONDS
            if not stopping():
                self._take()
        except QueueError as error:
            # Leases that cannot be renewed expire, and other workers take the segments.
            log.warning("the queue gives no jobs now", extra={"error": str(error)})

    def close(self) -> None:
        """Give back what is left, for other workers to take at once. Blocks on the network."""
        names = self._leases.names()
        self._leases.drop(names)
        if names:
            try:
                self._server.script("park", self._leases.token, 0, *names)
            except QueueError as error:
                log.warning("leases end by themselves", extra={"error": str(error)})

    def _take(self) -> None:
        room = self._most - len(self._leases)
        if room <= 0:
            return
        taken = self._server.script("take", self._leases.token, LEASE_MILLISECONDS, room)
        for name, header, lines, size in taken:
            segment = Segment(
                msgspec.json.decode(header, type=Header),
                QueuedBody(self._server, name.decode(), size=int(size)),
            )
            segment.lines, segment.size = int(lines), int(size)
            segment.sealed = True
            segment.frozen.set()
            self._leases.add(segment.name)
            self._waiting.append(segment)

    def _renew(self) -> None:
        """Renew all leases, forget those that are lost, give back what is parked for too long."""
        parked = self._leases.parked_long()
        if parked:
            self._leases.drop(parked)
            self._server.script("park", self._leases.token, 0, *parked)
        names = self._leases.names()
        if names:
            lost = self._server.script("renew", self._leases.token, LEASE_MILLISECONDS, *names)
            self._leases.drop(name.decode() for name in lost)
