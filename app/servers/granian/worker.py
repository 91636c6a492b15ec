"""gunicorn's worker around Granian's HTTP engine (hyper, in Rust).

gunicorn keeps processes, signals and hooks; the engine reads and writes HTTP without the GIL, and
calls the reception. The names from `granian._granian` are private: the version is pinned, and
tests/unit/servers/test_granian.py says loudly when they change. Knows nothing of payloads.
"""

import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

from granian import _granian
from granian.http import HTTP1Settings, HTTP2Settings

from app.servers.granian.router import RequestRouter
from app.servers.signals import SignalSafeWorker, ignore_stop_signals
from app.state import state_of
from workers.settings import load_settings

log = logging.getLogger(__name__)

# Its own annotations are for its own calls.
_rust: Any = _granian

# What hyper keeps of a connection: a request's head must fit in.
BUFFER_BYTES = 48 << 10
# For what a request may still take once its body is here.
LINGER_SECONDS = 2.0
LOOKUP_THREADS = 4
HEARTBEAT_SECONDS = 1.0


class InlineLoop:
    """What the engine takes for an event loop: it puts nothing off."""

    def call_soon(self, callback: Callable[[Any], None], future: Any, context: Any = None) -> None:
        """Call back, here and now."""
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
            # A client that does not read its answers is let go; hyper would wait for ever. What a
            # listener has its connections inherit (tcp(7)).
            listener.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(2 * request_timeout * 1000)
            )
        # A descriptor of its own, which the engine closes when it stops.
        holder = _rust.SocketHolder(os.dup(listener.fileno()), self._uds, cfg.backlog)
        loop = InlineLoop()
        self._scheduler = _rust.CallbackScheduler(loop, router.request, None, None, None)
        self._scheduler._schedule_fn = router.request  # noqa: SLF001
        self._loop = loop
        # hyper has one patience for a head that is coming and for a kept-alive connection that
        # idles. A proxy's must be the shorter one of the two, or requests are lost between them.
        milliseconds = int(max(request_timeout, cfg.keepalive) * 1000)
        self._worker = _rust.RSGIWorker(
            1,  # number, in its log lines
            (None, holder),
            None,  # no pipe to a Granian parent
            1,  # threads for HTTP
            1,  # blocking threads, for static files
            1,  # threads for Python
            int(HEARTBEAT_SECONDS),
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


class EngineWorker(SignalSafeWorker):
    """A gunicorn worker that serves by Granian's engine."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._force_quit = False

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Stop without waiting for running requests: the master kills within two seconds."""
        super().handle_quit(sig, frame)
        self._force_quit = True

    def run(self) -> None:
        """Serve until told to stop, then finish what is running, in its part of the stop's time."""
        request_timeout = load_settings().request_seconds
        uploads = ThreadPoolExecutor(self.cfg.threads, thread_name_prefix="upload")
        lookups = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="lookup")
        router = RequestRouter(
            state_of(self.wsgi).fast_path,
            uploads=uploads,
            lookups=lookups,
            wsgi=self.wsgi,
            request_timeout=request_timeout,
        )
        engines = [
            Engine(each, router=router, cfg=self.cfg, request_timeout=request_timeout)
            for each in self.sockets
        ]
        for engine in engines:
            engine.start()
        while self.alive and self.ppid == os.getppid():
            self._heartbeat(router)
        for engine in engines:
            engine.stop()
        # A client that comes now is refused at once, and not left in a queue that nobody serves.
        for listener in self.sockets:
            listener.close()
        deadline = time.monotonic() + LINGER_SECONDS + request_timeout

        def running() -> bool:
            return not all(engine.stopped.is_set() for engine in engines)

        while running():
            self._heartbeat(router, seconds=0.1)
            if running() and (self._force_quit or time.monotonic() > deadline):
                log.warning("requests cut off by the stop")
                break
        ignore_stop_signals()
        # The pools are left as they are: what comes to them now is turned away.
        router.close()
        # Threads in Rust must not meet an interpreter that is taken down.
        self.exit_immediately = True

    def _heartbeat(self, router: RequestRouter, *, seconds: float = HEARTBEAT_SECONDS) -> None:
        """Tell the master that we live, and wait a moment, or for a signal."""
        self.notify()
        router.expire(time.monotonic())
        if select.select([self.PIPE[0]], [], [], seconds)[0]:
            os.read(self.PIPE[0], 4096)
