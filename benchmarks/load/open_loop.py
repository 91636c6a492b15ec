"""The open loop: sends on a fixed schedule, whether answers come or not, and times from it.

A closed loop slows down with the service and so hides the queue before it. Here a request that
finds no connection free waits, and its wait counts. One thread, one epoll, no pipelining.
"""

import gc
import itertools
import select
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.load.bodies import SINGLE, Body, make_requests
from benchmarks.load.connection import Connection

CONNECTIONS = 256
DRAIN_SECONDS = 2.0
PIECES = select.EPOLLIN | select.EPOLLOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """So many requests a second, for so many seconds, each with such a body."""

    rate: float
    seconds: float
    body: Body = SINGLE
    connections: int = CONNECTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What became of a schedule. Latencies are seconds from the scheduled moment to the answer."""

    pace: Pace
    # By status, sorted.
    latencies: Mapping[int, Sequence[float]]
    # 202s that came while the schedule ran: what was achieved of what was offered.
    in_time: int
    # Connections that the service broke with a request on them.
    broken: int
    # How long requests without an answer had waited at the end; their latency is at least that.
    waited: Sequence[float]
    # How late the generator itself was for each request; above the latencies, they are its own.
    late: Sequence[float]
    # CPU that the generator took of a core, from 0 to 1.
    own_cpu: float

    @property
    def achieved(self) -> float:
        """Requests answered 202 in each second of the schedule."""
        return self.in_time / self.pace.seconds

    def count(self, status: int) -> int:
        """Return how many answers had a status."""
        return len(self.latencies.get(status, ()))

    def latency(self, quantile: float) -> float | None:
        """Return a quantile of all requests but the broken, those without an answer included."""
        answered = [seconds for kind in self.latencies.values() for seconds in kind]
        return at_quantile(sorted([*answered, *self.waited]), quantile)


def at_quantile(ordered: Sequence[float], quantile: float) -> float | None:
    """Return what this part (0 to 1) of sorted values does not exceed; None of none."""
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else None


@dataclass(slots=True)
class OpenLoop:
    """A generator at work: `run` once."""

    port: int
    pace: Pace
    requests: Iterator[bytes] = field(default_factory=lambda: iter(()))
    latencies: dict[int, list[float]] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)
    in_time: int = 0
    broken: int = 0
    # Scheduled moments that wait for a connection, the idle connections, and the busy by number.
    waiting: deque[float] = field(default_factory=deque)
    idle: deque[Connection] = field(default_factory=deque)
    busy: dict[int, Connection] = field(default_factory=dict)
    epoll: select.epoll = field(default_factory=select.epoll)

    def run(self) -> Seen:
        """Send the whole schedule, and wait a little for the last answers. Blocks."""
        self.requests = itertools.cycle(make_requests(self.pace.body))
        for _ in range(self.pace.connections):
            self._open(Connection(self.port))
        collecting = gc.isenabled()
        cpu = time.process_time()
        gc.disable()
        try:
            start = time.perf_counter()
            end = self._loop(start)
        finally:
            if collecting:
                gc.enable()
            self.epoll.close()
            for connection in (*self.idle, *self.busy.values()):
                connection.sock.close()
        cpu = time.process_time() - cpu
        left = [*self.waiting, *(connection.due for connection in self.busy.values())]
        return Seen(
            pace=self.pace,
            latencies={status: sorted(found) for status, found in self.latencies.items()},
            in_time=self.in_time,
            broken=self.broken,
            waited=[end - due for due in left],
            late=sorted(self.late),
            own_cpu=cpu / (end - start),
        )

    def _loop(self, start: float) -> float:
        gap, total, number = 1 / self.pace.rate, int(self.pace.rate * self.pace.seconds), 0
        finish = start + total * gap
        deadline = finish + DRAIN_SECONDS
        while True:
            now = time.perf_counter()
            while number < total and (due := start + number * gap) <= now:
                self.waiting.append(due)
                self.late.append(now - due)
                number += 1
            while self.waiting and self.idle:
                self._send(self.waiting.popleft())
            if now > deadline or (number == total and not self.waiting and not self.busy):
                return now
            until = start + number * gap if number < total else deadline
            # epoll_wait counts in milliseconds; select, of the epoll itself, in microseconds.
            select.select([self.epoll], (), (), max(0.0, until - time.perf_counter()))
            for descriptor, events in self.epoll.poll(0):
                self._attend(descriptor, events, finish)

    def _send(self, due: float) -> None:
        connection = self.idle.popleft()
        descriptor = connection.sock.fileno()
        self.busy[descriptor] = connection
        connection.due = due
        connection.unsent = next(self.requests)
        try:
            connection.send()
        except OSError:
            self._reopen(descriptor)
            return
        if connection.unsent:
            self.epoll.modify(descriptor, PIECES)

    def _attend(self, descriptor: int, events: int, finish: float) -> None:
        connection = self.busy.get(descriptor)
        if connection is None:
            # The service closed a connection that was idle: nothing is lost.
            self._replace_idle(descriptor)
            return
        try:
            if events & select.EPOLLOUT:
                connection.send()
                if not connection.unsent:
                    self.epoll.modify(descriptor, select.EPOLLIN)
            status = connection.receive() if events & ~select.EPOLLOUT else None
        except OSError:
            self._reopen(descriptor)
            return
        if status is not None:
            now = time.perf_counter()
            self.latencies.setdefault(status, []).append(now - connection.due)
            self.in_time += status == 202 and now <= finish
            self.idle.append(self.busy.pop(descriptor))

    def _reopen(self, descriptor: int) -> None:
        """Count a request as broken, and connect anew."""
        self.broken += 1
        self._renew(self.busy.pop(descriptor))

    def _replace_idle(self, descriptor: int) -> None:
        gone = next(one for one in self.idle if one.sock.fileno() == descriptor)
        self.idle.remove(gone)
        self._renew(gone)

    def _renew(self, connection: Connection) -> None:
        connection.sock.close()
        connection.connect()
        self._open(connection)

    def _open(self, connection: Connection) -> None:
        self.epoll.register(connection.sock.fileno(), select.EPOLLIN)
        self.idle.append(connection)
