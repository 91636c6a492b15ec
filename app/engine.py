"""gunicorn's worker around Granian's HTTP engine (hyper, in Rust), and what it calls for a request.

gunicorn keeps processes, signals and hooks; the engine reads and writes HTTP without the GIL. It is
driven by callbacks, with no event loop: a body that is still coming, or a collection that is being
synced, holds no thread. The names from `granian._granian` are private: the version is pinned, and
tests/unit/test_engine.py says loudly when they change. Knows nothing of payloads but the hot route.
"""

import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from types import FrameType
from typing import Any

from granian import _granian
from granian.http import HTTP1Settings, HTTP2Settings

from app.answers import Answer, failure, refusal
from app.hot import HotRoute
from app.problems import Unavailable
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
# For what a request may still take once its body is here.
LINGER_SECONDS = 2.0
LOOKUP_THREADS = 4
BEAT_SECONDS = 1.0


class Reception:
    """Takes each request from the engine: the hot route's at once, others into a pool.

    `request` is called in the engine's one Python thread; `expire` from the worker's main thread.
    `uploads` is the pool for requests with a body, which may be slow to come; `lookups` for those
    without one, so that no client keeps a probe waiting.
    """

    def __init__(
        self,
        hot: HotRoute,
        *,
        uploads: Executor,
        lookups: Executor,
        wsgi: Any,
        patience: float,
    ) -> None:
        self.hot = hot
        self._uploads = uploads
        self._lookups = lookups
        self._wsgi = wsgi
        self._patience = patience
        # In the order that they began in.
        self._coming: dict[Body, None] = {}
        self._bytes = 0
        self._closed = False
        self._lock = threading.Lock()

    def request(self, watcher: Any) -> None:
        """Begin with a request. Must not raise, nor return anything: the engine would leak it."""
        proto = watcher.proto
        try:
            scope = watcher.scope
            headers = scope.headers
            length = headers.get("content-length")
            chunked = "transfer-encoding" in headers
            plain = not chunked and "content-encoding" not in headers
            stream = self.hot.stream(scope.method, scope.path, length=length, plain=plain)
            if stream is not None and self._bytes + int(length) <= HOT_BYTES:
                self._await(Body(self, proto, headers, stream=stream, length=int(length)))
            else:
                has_body = chunked or length not in (None, "0")
                pool = self._uploads if has_body else self._lookups
                pool.submit(self._call, scope, proto, self._deadline())
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

    def close(self) -> None:
        """Turn away what still waits for a thread."""
        self._closed = True

    def arrived(self, body: "Body") -> None:
        """Take note that a body is here, or will not come."""
        with self._lock:
            del self._coming[body]
            self._bytes -= body.length

    def _await(self, body: "Body") -> None:
        body.deadline = self._deadline()
        with self._lock:
            self._coming[body] = None
            self._bytes += body.length
        body.begin()

    def _call(self, scope: Any, proto: Any, deadline: float) -> None:
        """Answer a request in a pool's thread, unless it has waited too long for one."""
        if self._closed:
            send(proto, refusal(Unavailable("This process is stopping.", retry_after=1)))
        elif time.monotonic() > deadline:
            detail = "Other requests are slow to come, and hold all threads."
            send(proto, refusal(Unavailable(detail, retry_after=1)))
        else:
            send(proto, call_wsgi(self._wsgi, scope, proto, deadline=deadline))

    def _deadline(self) -> float:
        return time.monotonic() + self._patience


class Body:
    """A body on its way to the hot route; the engine calls it when more of it is here.

    Part by part, as whatever is not taken keeps a whole buffer of the engine's.
    """

    __slots__ = (
        "_coming", "_content_type", "_parts", "_proto", "_reception", "_sent_id", "_stream",
        "deadline", "length",
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
        self._parts: bytearray | None = None
        self._coming: Any = None

    def begin(self) -> None:
        """Ask the engine for the body; returns at once."""
        self._proto.__aiter__()
        self._ask()

    def give_up(self) -> None:
        """Wait no longer: the client is told so."""
        coming = self._coming
        if coming is not None:
            coming.cancel()

    def __call__(self, coming: Any) -> None:
        """Go on with a request when a part of its body is here, or will not be."""
        # It holds this object, which held it: a circle that no collector sees through.
        self._coming = None
        try:
            # The engine gives the body's end, and a break in it, as an empty part.
            part = b"" if coming.cancelled() else coming.result()
            body = self._with(part)
            if part and len(body) < self.length:
                self._ask()
                return
            self._reception.arrived(self)
            self._go_on(bytes(body))
        except Exception as error:  # noqa: BLE001 (whatever it is, the client gets an answer)
            self.send(failure(error))

    def _ask(self) -> None:
        self._coming = coming = self._proto.__anext__()
        coming.add_done_callback(self)

    def _with(self, part: bytes) -> bytes | bytearray:
        """Return what is here so far. Most bodies are here at once, and are not copied."""
        if self._parts is None:
            if len(part) == self.length:
                return part
            self._parts = bytearray()
        self._parts += part
        return self._parts

    def _go_on(self, body: bytes) -> None:
        hot = self._reception.hot
        if len(body) < self.length:
            hot.refuse(incomplete(), sent_id=self._sent_id, send=self.send)
        else:
            hot.begin(
                self._stream,
                body,
                content_type=self._content_type,
                sent_id=self._sent_id,
                send=self.send,
            )

    def send(self, answer: Answer) -> None:
        """Answer; the engine's threads do the rest."""
        send(self._proto, answer)


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
        self._uds = listener.family == socket.AF_UNIX
        if not self._uds:
            # A client that does not read its answers is let go; hyper would wait for ever. What a
            # listener has its connections inherit (tcp(7)).
            listener.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(2 * patience * 1000)
            )
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
        uploads = ThreadPoolExecutor(self.cfg.threads, thread_name_prefix="upload")
        lookups = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="lookup")
        reception = Reception(
            state_of(self.wsgi).hot,
            uploads=uploads,
            lookups=lookups,
            wsgi=self.wsgi,
            patience=patience,
        )
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
        reception.close()
        for pool in (uploads, lookups):
            pool.shutdown(wait=False)

    def _beat(self, reception: Reception, *, seconds: float = BEAT_SECONDS) -> None:
        """Tell the master that we live, and wait a moment, or for a signal."""
        self.notify()
        reception.expire(time.monotonic())
        if select.select([self.PIPE[0]], [], [], seconds)[0]:
            os.read(self.PIPE[0], 4096)
