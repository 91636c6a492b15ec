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
from types import FrameType
from typing import Any

from granian import _granian
from granian.http import HTTP1Settings, HTTP2Settings

from app.answers import Answer, failure
from app.hot import HotRoute
from app.reading import incomplete
from app.rsgi import call_wsgi
from app.state import state_of
from app.stopping import HearingWorker, ignore_stop_signals
from workers.settings import load_settings

log = logging.getLogger(__name__)

# Its own annotations are for its own calls.
_rust: Any = _granian

# Bodies on their way to the hot route, all together; what comes beyond goes by Flask's threads.
HOT_BYTES = 16 << 20
# What hyper keeps of a connection: a request's head must fit in.
BUFFER_BYTES = 48 << 10
# A kept-alive connection may have sent its next request before it hears that we stop.
LINGER_SECONDS = 2.0
BEAT_SECONDS = 1.0


class Reception:
    """Takes each request from the engine: the hot route's at once, others into the pool.

    `request` is called in the engine's one Python thread; `expire` from the worker's main thread.
    """

    def __init__(
        self, hot: HotRoute, *, pool: ThreadPoolExecutor, wsgi: Any, patience: float
    ) -> None:
        self.hot = hot
        self._pool = pool
        self._wsgi = wsgi
        self._patience = patience
        # In the order that they began in.
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
            stream = self.hot.stream(scope.method, scope.path, length=length, plain=plain)
            if stream is None or self._bytes + int(length) > HOT_BYTES:
                self._pool.submit(call_wsgi, self._wsgi, scope, proto, patience=self._patience)
            else:
                self._await(Body(self, proto, headers, stream=stream, length=int(length)))
        except Exception as error:  # noqa: BLE001 (whatever it is, the client gets an answer)
            send(proto, failure(error))

    def expire(self, now: float) -> None:
        """Give up bodies whose time is over."""
        late = []
        with self._lock:
            for body in self._coming:
                if body.deadline > now:
                    break
                late.append(body)
        for body in late:
            body.give_up()

    def _await(self, body: "Body") -> None:
        body.deadline = time.monotonic() + self._patience
        with self._lock:
            self._coming[body] = None
            self._bytes += body.length
        body.begin()

    def arrived(self, body: "Body") -> None:
        """Take note that a body is here, or will not come."""
        with self._lock:
            del self._coming[body]
            self._bytes -= body.length


class Body:
    """A body on its way to the hot route; the engine calls it when it is here."""

    __slots__ = (
        "_coming", "_content_type", "_proto", "_reception", "_sent_id", "_stream", "deadline",
        "length",
    )  # fmt: skip

    def __init__(
        self, reception: Reception, proto: Any, headers: Any, *, stream: str, length: int
    ) -> None:
        self.length = length
        self.deadline = 0.0
        self._reception = reception
        self._proto = proto
        self._stream = stream
        self._content_type: str = headers.get("content-type", "")
        self._sent_id: str | None = headers.get("x-request-id")
        self._coming: Any = None

    def begin(self) -> None:
        """Ask the engine for the body; returns at once."""
        self._coming = coming = self._proto()
        coming.add_done_callback(self)

    def give_up(self) -> None:
        """Wait no longer: the client is told so."""
        coming = self._coming
        if coming is not None:
            coming.cancel()

    def __call__(self, coming: Any) -> None:
        """Go on with a request whose body is here, or will not be."""
        # It holds this object, which held it: a circle that no collector sees through.
        self._coming = None
        self._reception.arrived(self)
        try:
            hot = self._reception.hot
            data = None if coming.cancelled() else _result(coming)
            if data is None:
                hot.refuse(incomplete(), sent_id=self._sent_id, send=self.send)
            else:
                hot.begin(
                    self._stream,
                    data,
                    content_type=self._content_type,
                    sent_id=self._sent_id,
                    send=self.send,
                )
        except Exception as error:  # noqa: BLE001 (whatever it is, the client gets an answer)
            self.send(failure(error))

    def send(self, answer: Answer) -> None:
        """Answer; the engine's threads do the rest."""
        send(self._proto, answer)


def _result(coming: Any) -> bytes | None:
    """Return a body, None where the client left in its middle."""
    try:
        data: bytes = coming.result()
    except RuntimeError:
        return None
    return data


def send(proto: Any, answer: Answer) -> None:
    """Answer a request. A second answer to the same is nothing."""
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
        self._signal = _rust.WorkerSignal()
        self._signal.add_cb(self.stopped.set)
        self._uds = listener.family.name == "AF_UNIX"
        # A descriptor of its own, which the engine closes when it stops.
        holder = _rust.SocketHolder(os.dup(listener.fileno()), self._uds, cfg.backlog)
        loop = Directly()
        self._scheduler = _rust.CallbackScheduler(loop, reception.request, None, None, None)
        self._scheduler._schedule_fn = reception.request  # noqa: SLF001
        self._loop = loop
        # hyper has one patience for a head that is coming and for a kept-alive connection that
        # idles. A proxy's must be the shorter one of the two, or requests are lost between them.
        milliseconds = int(max(patience, cfg.keepalive) * 1000)
        self._worker = _rust.RSGIWorker(
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
        serve = self._worker.serve_async_uds if self._uds else self._worker.serve_async
        serve(self._scheduler, self._loop, self._signal)

    def stop(self) -> None:
        """Accept no more, let running requests finish, then set `stopped`. Returns at once."""
        self._signal.set()


def _tls(cfg: Any) -> tuple[Any, ...]:
    """Return the engine's arguments for gunicorn's `certfile`, `keyfile` and `ca_certs`."""
    if not cfg.is_ssl:
        return (False, None, None, None, "tls1.3", None, [], False)
    return (True, cfg.certfile, cfg.keyfile, None, "tls1.2", cfg.ca_certs, [], bool(cfg.cert_reqs))


class EngineWorker(HearingWorker):
    """A gunicorn worker that serves by Granian's engine."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hurried = False

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Stop without waiting for running requests: the master kills within two seconds."""
        super().handle_quit(sig, frame)
        self._hurried = True

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
        # A client that comes now is refused at once, and not left in a queue that nobody serves.
        for listener in self.sockets:
            listener.close()
        deadline = time.monotonic() + LINGER_SECONDS + patience
        while not all(engine.stopped.is_set() for engine in engines):
            if self._hurried or time.monotonic() > deadline:
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
