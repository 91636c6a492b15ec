"""gunicorn's worker around Granian's HTTP engine (hyper, in Rust), and what it calls for a request.

gunicorn keeps processes, signals and hooks; the engine reads and writes HTTP without the GIL. It is
driven by callbacks, with no event loop: a body that is still coming, or a collection that is being
synced, holds no thread. The names from `granian._granian` are private: the version is pinned, and
tests/unit/test_engine.py says loudly when they change. Knows nothing of payloads but the hot route.
"""

import logging
import os
import select
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from granian._granian import CallbackScheduler, RSGIWorker, SocketHolder, WorkerSignal
from granian.http import HTTP1Settings, HTTP2Settings

from app.answers import Answer, failure
from app.hot import HotRoute
from app.reading import incomplete
from app.rsgi import call_wsgi
from app.state import state_of
from app.stopping import HearingWorker, ignore_stop_signals
from workers.settings import load_settings

log = logging.getLogger(__name__)

# Bodies on their way to the hot route, all together; what comes beyond goes by Flask's threads.
HOT_BYTES = 16 << 20
# What hyper keeps of a connection: a request's head must fit in.
BUFFER_BYTES = 48 << 10
# A kept-alive connection may have sent its next request before it hears that we stop.
LINGER_SECONDS = 2.0
BEAT_SECONDS = 1.0


class Body:
    """A body on its way to the hot route."""

    __slots__ = ("coming", "content_type", "deadline", "length", "proto", "sent_id", "stream")

    def __init__(
        self, proto: Any, *, stream: str, length: int, content_type: str, sent_id: str | None
    ) -> None:
        self.proto = proto
        self.stream = stream
        self.length = length
        self.content_type = content_type
        self.sent_id = sent_id
        self.deadline = 0.0
        self.coming: Any = None


class Reception:
    """Takes each request from the engine: the hot route's at once, others into the pool.

    `request` is called in the engine's one Python thread; `expire` from the worker's main thread.
    """

    def __init__(
        self, hot: HotRoute, *, pool: ThreadPoolExecutor, wsgi: Any, patience: float
    ) -> None:
        self._hot = hot
        self._pool = pool
        self._wsgi = wsgi
        self._patience = patience
        self._coming: dict[Body, None] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def request(self, watcher: Any) -> None:
        """Begin with a request. Must not raise, nor return anything: the engine would leak it."""
        proto = watcher.proto
        try:
            scope = watcher.scope
            headers = scope.headers
            length = headers.get("content-length")
            plain = "content-encoding" not in headers and "transfer-encoding" not in headers
            stream = self._hot.stream(scope.method, scope.path, length=length, plain=plain)
            if stream is None or self._bytes + int(length) > HOT_BYTES:
                self._pool.submit(call_wsgi, self._wsgi, scope, proto, patience=self._patience)
                return
            body = Body(
                proto,
                stream=stream,
                length=int(length),
                content_type=headers.get("content-type", ""),
                sent_id=headers.get("x-request-id"),
            )
            self._read(body)
        except Exception as error:  # noqa: BLE001 (whatever it is, the client gets an answer)
            send(proto, failure(error))

    def expire(self, now: float) -> None:
        """Give up bodies whose time is over."""
        with self._lock:
            late = []
            for body in self._coming:
                if body.deadline > now:
                    break
                late.append(body)
        for body in late:
            # This calls `_come`, here.
            body.coming.cancel()

    def _read(self, body: Body) -> None:
        body.deadline = time.monotonic() + self._patience
        body.coming = body.proto()
        with self._lock:
            self._coming[body] = None
            self._bytes += body.length
        body.coming.add_done_callback(partial(self._come, body))

    def _come(self, body: Body, coming: Any) -> None:
        """Go on with a request whose body is here, or will not be."""
        # It holds this call, and so the body: a circle that no collector sees through.
        body.coming = None
        with self._lock:
            del self._coming[body]
            self._bytes -= body.length
        try:
            respond = partial(send, body.proto)
            data = None if coming.cancelled() else _result(coming)
            if data is None:
                self._hot.refuse(incomplete(), sent_id=body.sent_id, send=respond)
            else:
                self._hot.begin(
                    body.stream,
                    data,
                    content_type=body.content_type,
                    sent_id=body.sent_id,
                    send=respond,
                )
        except Exception as error:  # noqa: BLE001 (whatever it is, the client gets an answer)
            send(body.proto, failure(error))


def _result(coming: Any) -> bytes | None:
    """Return a body, None where the client left in its middle."""
    try:
        data: bytes = coming.result()
    except RuntimeError:
        return None
    return data


def send(proto: Any, answer: Answer) -> None:
    """Answer a request; the engine's threads do the rest. The second answer to one is nothing."""
    proto.response_bytes(answer.status, answer.headers, answer.body)


class Directly:
    """What the engine takes for an event loop: it puts nothing off."""

    def call_soon(self, callback: Callable[[Any], None], future: Any, context: Any = None) -> None:
        """Call back, here and now."""
        del context
        callback(future)

    call_soon_threadsafe = call_soon


class Engine:
    """The engine on one listening socket: one thread for HTTP, one for Python."""

    def __init__(self, listener: Any, *, reception: Reception, cfg: Any, patience: float) -> None:
        self.stopped = threading.Event()
        self._signal = WorkerSignal()
        self._signal.add_cb(self.stopped.set)
        self._uds = listener.family.name == "AF_UNIX"
        # A descriptor of its own, which the engine closes when it stops.
        holder = SocketHolder(os.dup(listener.fileno()), self._uds, cfg.backlog)  # type: ignore[call-arg]
        loop = Directly()
        self._scheduler = CallbackScheduler(loop, reception.request, None, None, None)  # type: ignore[call-arg]
        self._scheduler._schedule_fn = reception.request  # type: ignore[attr-defined]  # noqa: SLF001
        self._loop = loop
        # hyper has one patience for a head that is coming and for a kept-alive connection that
        # idles. A proxy's must be the shorter one of the two, or requests are lost between them.
        milliseconds = int(max(patience, cfg.keepalive) * 1000)
        self._worker = RSGIWorker(  # type: ignore[call-arg]
            1,  # number, in its log lines
            (None, holder),
            None,  # no pipe to a Granian parent
            1,  # threads for HTTP
            1,  # blocking threads, for static files
            1,  # threads for Python
            int(BEAT_SECONDS),
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
        serve = self._worker.serve_async_uds if self._uds else self._worker.serve_async  # type: ignore[attr-defined]
        serve(self._scheduler, self._loop, self._signal)

    def stop(self) -> None:
        """Accept no more, let running requests finish, then set `stopped`. Returns at once."""
        self._signal.set()


def _tls(cfg: Any) -> tuple[Any, ...]:
    """Return the engine's arguments for gunicorn's `certfile`, `keyfile`, `ca_certs`, `cert_reqs`."""
    if not cfg.is_ssl:
        return (False, None, None, None, "tls1.3", None, [], False)
    return (True, cfg.certfile, cfg.keyfile, None, "tls1.2", cfg.ca_certs, [], bool(cfg.cert_reqs))


class EngineWorker(HearingWorker):
    """A gunicorn worker that serves by Granian's engine."""

    def run(self) -> None:
        """Serve until told to stop, then finish what is running, in its part of the stop's time."""
        patience = load_settings().request_seconds
        pool = ThreadPoolExecutor(self.cfg.threads, thread_name_prefix="request")
        reception = Reception(state_of(self.wsgi).hot, pool=pool, wsgi=self.wsgi, patience=patience)
        engines = [
            Engine(each, reception=reception, cfg=self.cfg, patience=patience)
            for each in self.sockets
        ]
        for engine in engines:
            engine.start()
        while self.alive and self.ppid == os.getppid():
            self._beat(reception)
        for engine in engines:
            engine.stop()
        deadline = time.monotonic() + LINGER_SECONDS + patience
        while not all(engine.stopped.is_set() for engine in engines):
            if time.monotonic() > deadline:
                log.warning("requests cut off by the stop")
                break
            self._beat(reception, seconds=0.1)
        ignore_stop_signals()
        pool.shutdown(wait=False, cancel_futures=True)

    def _beat(self, reception: Reception, *, seconds: float = BEAT_SECONDS) -> None:
        """Tell the master that we live, and wait a moment, or for a signal."""
        self.notify()
        reception.expire(time.monotonic())
        if select.select([self.PIPE[0]], [], [], seconds)[0]:
            os.read(self.PIPE[0], 4096)
