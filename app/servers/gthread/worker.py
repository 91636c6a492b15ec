"""gunicorn's threaded worker with deadlines, and no thread for a silent client.

gthread gives each new connection a thread before a byte has arrived, and reads in blocking mode
without a timeout. Knows gunicorn, and nothing of payloads. Private names of gunicorn's are held by
tests/unit/servers/test_gthread.py.
"""

import contextlib
import errno
import math
import selectors
import socket
import time
from functools import partial
from types import FrameType
from typing import Any

from gunicorn.http import errors, wsgi
from gunicorn.workers.gthread import (
    STOP_KEEPALIVE_LINGER,
    PollableMethodQueue,
    TConn,
    ThreadWorker,
)

from app.http.problems import CONTENT_TYPE, Problem
from app.servers.signals import SignalSafeWorker, ignore_stop_signals

# Statuses of what gunicorn cannot read as HTTP; anything else of the kind is a 400.
_STATUSES = {
    errors.LimitRequestLine: 414,
    errors.ExpectationFailed: 417,
    errors.LimitRequestHeaders: 431,
    errors.UnsupportedTransferCoding: 501,
}
_GONE = (errno.EAGAIN, errno.ECONNABORTED)
# How long a client may take to close its side after the last response, as in gunicorn.
LINGER_SECONDS = 2.0
LINGER_BYTES = 1 << 16


class UnclosedMethodQueue(PollableMethodQueue):  # type: ignore[misc]
    """gunicorn's wake-up pipe, open as long as the process lives."""

    def close(self) -> None:
        """Keep the pipe: late requests still write to its number, which S3's sockets would get."""


class UnnamedResponse(wsgi.Response):  # type: ignore[misc]
    """A response without the `Server` header, for which gunicorn has no setting."""

    def default_headers(self) -> list[str]:
        """Return the lines of gunicorn's own headers."""
        lines: list[str] = super().default_headers()
        return [line for line in lines if not line.startswith("Server:")]


class DeadlineThreadWorker(SignalSafeWorker, ThreadWorker):  # type: ignore[misc]
    """gthread that stops reading from a client `REQUEST_SECONDS` after its request began."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.method_queue = UnclosedMethodQueue()
        # Set in `run`: only then are there settings, of this process.
        self._request_timeout = 0.0
        # When to shut which side of a connection whose request is being handled.
        self._reading: dict[TConn, list[Any]] = {}
        # Connections that are done but for the client's end: until when, and for how many bytes.
        self._lingering: dict[TConn, list[Any]] = {}

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection and leave it with the poller until its client says something."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return
        self.nr_conns += 1
        conn = TConn(self.cfg, client, address, listener.getsockname())
        conn.timeout = time.monotonic() + self._request_timeout
        self.pending_conns.append(conn)
        on_readable = partial(self.on_pending_socket_readable, conn)
        self.poller.register(client, selectors.EVENT_READ, on_readable)

    def handle(self, conn: TConn) -> Any:
        """Handle one request, in a pool thread, under a deadline."""
        self._reading[conn] = [time.monotonic() + self._request_timeout, socket.SHUT_RD]
        try:
            return super().handle(conn)
        finally:
            del self._reading[conn]

    def finish_request(self, conn: TConn, fs: Any) -> None:
        """Put a connection back to wait for its next request, or let it go."""
        if not fs.cancelled() and fs.exception() is None and fs.result():
            super().finish_request(conn, fs)
        else:
            self._linger(conn)

    def _linger(self, conn: TConn) -> None:
        """End our side of a connection, and leave the client's end to the poller.

        Closed with something unread in it, it would take its answer along (RFC 9112 section 9.6).
        gunicorn waits for the client's end in its loop, and for nothing else meanwhile.
        """
        try:
            conn.sock.settimeout(0)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        except (OSError, ValueError):
            self._close(conn)
        else:
            self._lingering[conn] = [time.monotonic() + LINGER_SECONDS, LINGER_BYTES]

    def _drain(self, conn: TConn, client: socket.socket) -> None:
        try:
            read = len(client.recv(LINGER_BYTES))
        except BlockingIOError:
            return
        except OSError:
            read = 0
        self._lingering[conn][1] -= read
        if not read or self._lingering[conn][1] <= 0:
            self._close(conn)

    def _close(self, conn: TConn) -> None:
        if self._lingering.pop(conn, None):
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def notify(self) -> None:
        """Notify the master, and end slow requests; gunicorn's loop calls it each second."""
        super().notify()
        now = time.monotonic()
        for conn, watched in list(self._reading.items()):
            deadline, side = watched
            if now > deadline:
                # First the reading side: the blocked read ends, and the answer still goes out.
                # Later all, for a client that does not read it. On the descriptor itself: shutting
                # a TLS socket down would send the answer in clear.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(conn.sock, side)
                if side == socket.SHUT_RD:
                    watched[:] = now + self._request_timeout, socket.SHUT_RDWR
                else:
                    watched[0] = math.inf
        # In the order of their deadlines.
        while self._lingering and now > next(iter(self._lingering.values()))[0]:
            self._close(next(iter(self._lingering)))

    def run(self) -> None:
        """Serve, then finish what is running, in the part of the stop's time that is for that.

        gunicorn gives a worker's loop the whole of `graceful_timeout`; the pipeline needs the rest.
        """
        wsgi.Response = UnnamedResponse
        self._request_timeout = self._read_request_timeout()
        self.cfg.set("graceful_timeout", math.ceil(STOP_KEEPALIVE_LINGER + self._request_timeout))
        super().run()
        ignore_stop_signals()
        # What still runs is overdue: the interpreter's end would wait for its threads.
        self.exit_immediately = True

    def _read_request_timeout(self) -> float:
        from app.state import state_of  # noqa: PLC0415 (Flask is not for gunicorn's master)

        return state_of(self.wsgi).settings.request_seconds

    def _end_waits(self) -> None:
        """Let no response wait for S3 any more."""
        from app.state import state_of  # noqa: PLC0415 (Flask is not for gunicorn's master)

        state_of(self.wsgi).pipeline().end_waits()

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Stop on SIGINT or SIGQUIT as on SIGTERM: Ctrl-C brings two of them at once.

        gunicorn's own handler shuts the thread pool down from inside the signal, which deadlocks
        where the signal struck the pool's own lock.
        """
        super().handle_quit(sig, frame)
        # A master that got SIGINT after SIGTERM kills within two seconds: end the loop that waits
        # for running requests. They go on in their threads, and what they bring is refused.
        self.nr_conns = 0
        self.method_queue.defer(lambda: None)

    def handle_error(
        self,
        req: Any,  # noqa: ARG002 (gunicorn's signature)
        client: socket.socket,
        addr: Any,  # noqa: ARG002 (the same)
        exc: Exception,
    ) -> None:
        """Answer what is no request of HTTP with a problem document, as everything else."""
        if isinstance(exc, errors.ParseException):
            status = next((code for kind, code in _STATUSES.items() if isinstance(exc, kind)), 400)
            detail = "This is not a request of HTTP/1.1 as this service reads it."
        else:
            self.log.error("request failed", exc_info=exc)
            status, detail = 500, "Something is wrong here; see the service's log."
        problem = Problem(detail, status=status)
        body = problem.body()
        head = (
            f"HTTP/1.1 {status} {problem.title}\r\nConnection: close\r\n"
            f"Content-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            client.sendall(head.encode() + body)

    def _cap_keepalive(self, deadline: float) -> None:
        """At a stop, silent connections linger as long as kept-alive ones: a request may come.

        A client that comes now is refused at once, and does not wait in a queue without a server.
        """
        for listener in self.sockets:
            listener.close()
        self._end_waits()
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)
