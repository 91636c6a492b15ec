"""Granian's HTTP engine (hyper, in Rust) on a listening socket of ours.

It reads and writes HTTP without the GIL, and calls a router. The names from `granian._granian` are
private: the version is pinned, and tests/unit/servers/test_granian.py fails when they change.
"""

import os
import socket
import threading
from collections.abc import Callable
from typing import Any

from granian import _granian
from granian.http import HTTP1Settings, HTTP2Settings

from app.servers.granian.router import RequestRouter

# Its own annotations are for its own calls.
_rust: Any = _granian

# What hyper keeps of a connection: a request's head must fit in.
BUFFER_BYTES = 48 << 10
# How long its Python thread may idle before it is made anew.
IDLE_SECONDS = 1


class InlineLoop:
    """The engine's event loop: it calls back at once."""

    def call_soon(self, callback: Callable[[Any], None], future: Any, context: Any = None) -> None:
        """Call `callback` before this returns."""
        del context
        callback(future)

    call_soon_threadsafe = call_soon


class Engine:
    """The engine on one listening socket: one thread for HTTP, one for Python."""

    def __init__(
        self, listener: Any, *, router: RequestRouter, cfg: Any, request_timeout: float
    ) -> None:
        self.stopped = threading.Event()
        self._signal = _rust.WorkerSignal()
        self._signal.add_cb(self.stopped.set)
        self._uds = listener.family == socket.AF_UNIX
        if not self._uds:
            # A client that does not read its responses is dropped; hyper has no timeout for that.
            # Connections inherit it from their listener (tcp(7)).
            listener.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(2 * request_timeout * 1000)
            )
        # A descriptor of its own, which the engine closes when it stops.
        holder = _rust.SocketHolder(os.dup(listener.fileno()), self._uds, cfg.backlog)
        loop = InlineLoop()
        self._scheduler = _rust.CallbackScheduler(loop, router.request, None, None, None)
        self._scheduler._schedule_fn = router.request  # noqa: SLF001
        self._loop = loop
        # hyper has one timeout for a head that is arriving and for a kept-alive connection that
        # idles. A proxy's must be shorter, or requests are lost on connections that just closed.
        milliseconds = int(max(request_timeout, cfg.keepalive) * 1000)
        self._worker = _rust.RSGIWorker(
            1,  # number, in its log lines
            (None, holder),
            None,  # no pipe to a Granian parent
            1,  # threads for HTTP
            1,  # blocking threads, for static files
            1,  # threads for Python
            IDLE_SECONDS,
            cfg.worker_connections,
            "1",  # HTTP/1; a proxy in front speaks the others
            HTTP1Settings(header_read_timeout=milliseconds, max_buffer_size=BUFFER_BYTES),
            HTTP2Settings(),
            False,  # no websockets  # noqa: FBT003
            None,  # no static files
            *_tls(cfg),
            (None, None),  # no metrics
        )

    def start(self) -> None:
        """Begin to accept; returns at once."""
        # The runtime that could have many threads, with one: to wake that from another thread takes
        # a system call only while it sleeps, where the single-threaded one takes one each time.
        serve = self._worker.serve_mtr_uds if self._uds else self._worker.serve_mtr
        serve(self._scheduler, self._loop, self._signal)

    def stop(self) -> None:
        """Accept no more, let running requests finish, then set `stopped`. Returns at once."""
        self._signal.set()


def _tls(cfg: Any) -> tuple[Any, ...]:
    """Return the engine's arguments for gunicorn's `certfile`, `keyfile` and `ca_certs`."""
    if not cfg.is_ssl:
        return (False, None, None, None, "tls1.3", None, [], False)
    return (True, cfg.certfile, cfg.keyfile, None, "tls1.2", cfg.ca_certs, [], bool(cfg.cert_reqs))
