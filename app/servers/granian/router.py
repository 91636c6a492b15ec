"""What becomes of a request that the HTTP engine brings: the hot route at once, Flask in a thread.

Driven by callbacks: a body that is still coming, or a collection that is being synced, holds no
thread. Knows requests in the engine's form (RSGI), and neither gunicorn nor payloads.
"""

import threading
import time
from concurrent.futures import Executor
from typing import Any

from app.http.problems import Unavailable
from app.http.responses import Answer, failure, refusal
from app.http.wsgi_body import incomplete
from app.ingest.fast_path import FastPath
from app.servers.granian.wsgi_bridge import call_wsgi

# Bodies on their way to the hot route, all together; what comes beyond goes by Flask's threads.
HOT_BYTES = 16 << 20


class RequestRouter:
    """Takes each request from the engine: the hot route's at once, others into a pool.

    `request` is called in the engine's one Python thread; `expire` from the worker's main thread.
    `uploads` is the pool for requests with a body, which may be slow to come; `lookups` for those
    without one, so that no client keeps a probe waiting.
    """

    def __init__(
        self,
        fast_path: FastPath,
        *,
        uploads: Executor,
        lookups: Executor,
        wsgi: Any,
        request_timeout: float,
    ) -> None:
        self.fast_path = fast_path
        self._uploads = uploads
        self._lookups = lookups
        self._wsgi = wsgi
        self._request_timeout = request_timeout
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
            stream = self.fast_path.stream(scope.method, scope.path, length=length, plain=plain)
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
        return time.monotonic() + self._request_timeout


class Body:
    """A body on its way to the hot route; the engine calls it when more of it is here.

    Part by part, as whatever is not taken keeps a whole buffer of the engine's.
    """

    __slots__ = (
        "_coming", "_content_type", "_parts", "_proto", "_router", "_sent_id", "_stream",
        "deadline", "length",
    )  # fmt: skip

    def __init__(
        self, router: RequestRouter, proto: Any, headers: Any, *, stream: str, length: int
    ) -> None:
        self.length = length
        self.deadline = 0.0
        self._router = router
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
            self._router.arrived(self)
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
        fast_path = self._router.fast_path
        if len(body) < self.length:
            fast_path.refuse(incomplete(), sent_id=self._sent_id, send=self.send)
        else:
            fast_path.begin(
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
