"""Calls a WSGI application for a request of the engine's: PEP 3333 out of RSGI, in a pool's thread.

For everything but the hot route; blocks on the client's body, and on the application.
"""

import queue
import sys
import time
from typing import Any

from app.http.responses import Answer, failure


def call_wsgi(application: Any, scope: Any, proto: Any, *, deadline: float) -> Answer:
    """Ask a WSGI application for its answer; the body has until `deadline` (monotonic) to come."""
    said: list[tuple[int, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
        said.append((int(status[:3]), headers))

    try:
        chunked = "transfer-encoding" in scope.headers
        body = Input(proto, deadline=deadline, chunked=chunked)
        result = application(environ_of(scope, body), start_response)
        try:
            content = b"".join(result)
        finally:
            if hasattr(result, "close"):
                result.close()
        return Answer(*said[-1], content)
    except Exception as error:  # noqa: BLE001 (whatever it is, the client gets an answer)
        return failure(error)


def environ_of(scope: Any, body: "Input") -> dict[str, Any]:
    """Build a request's WSGI environment."""
    host, _, port = scope.server.rpartition(":")
    environ = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        # PEP 3333: bytes as if they were Latin-1.
        "PATH_INFO": _latin(scope.path),
        "QUERY_STRING": _latin(scope.query_string),
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": body,
        # The end of the input is the end of the body, chunked or not.
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        # An underscore would let a client write another header's name.
        if "_" not in name:
            key = _key(name)
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    for name in scope.headers:
        # Values that are not ASCII are left out by the engine: what is there must not seem absent.
        if "_" not in name:
            environ.setdefault(_key(name), "?")
    return environ


def _key(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"


def _latin(text: str) -> str:
    return text.encode().decode("latin-1")


class Input:
    """`wsgi.input`: a body, read part by part as the client sends it, and not for ever."""

    def __init__(self, proto: Any, *, deadline: float, chunked: bool) -> None:
        self._proto = proto
        self._deadline = deadline
        self._chunked = chunked
        self._parts: Any = None
        self._rest = b""
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, b"" at the body's end; blocks on the client.

        Raises:
            TimeoutError: the body did not arrive whole in time.
            ValueError: its chunks broke off.
        """
        parts = [self._rest]
        missing = size - len(self._rest)
        while (size < 0 or missing > 0) and (part := self._next()):
            parts.append(part)
            missing -= len(part)
        data = b"".join(parts)
        end = len(data) if size < 0 else size
        self._rest = data[end:]
        return data[:end]

    def _next(self) -> bytes:
        if self._ended:
            return b""
        if self._parts is None:
            self._parts = self._proto.__aiter__()
        part = self._wait(self._parts.__anext__())
        if part:
            return part
        # The engine gives the body's end, and a break in it, as an empty part. The length tells
        # them apart; where there is none, only after the end is there nothing more to ask for.
        self._ended = True
        if not self._chunked:
            return b""
        try:
            self._wait(self._parts.__anext__())
        except StopAsyncIteration:
            return b""
        raise ValueError("the body broke off")

    def _wait(self, coming: Any) -> bytes:
        come: queue.SimpleQueue[Any] = queue.SimpleQueue()
        coming.add_done_callback(come.put)
        try:
            come.get(timeout=max(0.0, self._deadline - time.monotonic()))
        except queue.Empty:
            coming.cancel()
            # What was cancelled calls back too, and would be held by the queue that it holds.
            come.get_nowait()
            raise TimeoutError("the body did not come in time") from None
        part: bytes = coming.result()
        return part
