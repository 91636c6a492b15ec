"""The closed loop in Python, for a machine without wrk: saturates long before the service does."""

import itertools
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.load.bodies import make_requests
from benchmarks.load.closed_loop import Demand, Loaded
from benchmarks.load.connection import Connection
from benchmarks.load.open_loop import at_quantile

DRAIN_SECONDS = 10.0
WRITABLE = select.EPOLLIN | select.EPOLLOUT


class PythonLoop:
    """Runs the loop."""

    about = "a closed loop in Python (wrk is missing: apt install wrk)"

    def run(self, port: int, demand: Demand) -> Loaded:
        """Run the loop once.

        Raises:
            OSError: nothing listens on the port.
        """
        requests = itertools.cycle(make_requests(demand.body, streams=demand.streams))
        return _Loop(port, requests).run(connections=demand.connections, seconds=demand.seconds)


@dataclass(slots=True)
class _Loop:
    port: int
    requests: Iterator[bytes]
    # Connections with a request on them, by file descriptor.
    busy: dict[int, Connection] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    accepted: int = 0
    broken: int = 0
    epoll: select.epoll = field(default_factory=select.epoll)

    def run(self, *, connections: int, seconds: float) -> Loaded:
        """Send for so many seconds, then wait for the answers that are due. Blocks."""
        begun = time.perf_counter()
        for _ in range(connections):
            self._send(Connection(self.port), new=True)
        end = begun + seconds
        while self.busy and time.perf_counter() < end + DRAIN_SECONDS:
            for descriptor, events in self.epoll.poll(1.0):
                self._attend(self.busy[descriptor], events, end)
        taken = time.perf_counter() - begun
        self.broken += len(self.busy)
        for connection in self.busy.values():
            connection.sock.close()
        self.epoll.close()
        ordered = sorted(self.latencies)
        return Loaded(
            seconds=taken,
            accepted=self.accepted,
            refused=len(ordered) - self.accepted,
            broken=self.broken,
            p50=at_quantile(ordered, 0.50) or 0.0,
            p99=at_quantile(ordered, 0.99) or 0.0,
        )

    def _attend(self, connection: Connection, events: int, end: float) -> None:
        status = None
        try:
            if events & select.EPOLLOUT:
                connection.send()
                if not connection.unsent:
                    self.epoll.modify(connection.sock, select.EPOLLIN)
            if events & ~select.EPOLLOUT:
                status = connection.receive()
        except OSError:
            self.broken += 1
            self._close(connection)
            if time.perf_counter() < end:
                self._send(Connection(self.port), new=True)
            return
        if status is None:
            return
        now = time.perf_counter()
        self.latencies.append(now - connection.due)
        self.accepted += 200 <= status < 300
        if now < end:
            self._send(connection, new=False)
        else:
            self._close(connection)

    def _send(self, connection: Connection, *, new: bool) -> None:
        connection.due = time.perf_counter()
        connection.unsent = next(self.requests)
        self.busy[connection.sock.fileno()] = connection
        register = self.epoll.register if new else self.epoll.modify
        register(connection.sock, WRITABLE)

    def _close(self, connection: Connection) -> None:
        del self.busy[connection.sock.fileno()]
        connection.sock.close()
