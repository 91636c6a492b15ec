"""Answers that gthread's threads do not wait for: sent, many at a time, when payloads are safe.

Knows gunicorn's connections and answers, and nothing of payloads.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, NamedTuple

from gunicorn.http.wsgi import Response

from app.http.responses import Answer
from app.servers.wsgi import STATUS_LINES

# What a thread returns for a request whose answer comes later.
LATER = object()


class Reply:
    """The answer to one request: as soon as it is there, or when its thread has gone on."""

    def __init__(self, conn: Any, response: Response, *, replies: "Replies") -> None:
        self.conn = conn
        self.data: bytes | None = None
        self._response = response
        self._replies = replies
        self._left = False
        self._lock = threading.Lock()

    @property
    def keeps_connection(self) -> bool:
        """Whether the answer says that another request may follow."""
        return not self._response.should_close()

    def __call__(self, answer: Answer) -> None:
        """Take the answer, in whichever thread; it is sent by another."""
        headers = [*answer.headers, ("Content-Length", str(len(answer.body)))]
        self._response.start_response(STATUS_LINES[answer.status], headers)
        lines = [*self._response.default_headers(), *(f"{k}: {v}\r\n" for k, v in headers), "\r\n"]
        data = "".join(lines).encode("latin-1") + answer.body
        with self._lock:
            self.data = data
            left = self._left
        if left:
            self._replies.due(self)

    def leave(self) -> bool:
        """Let the answer be sent by others; False where it is here already, to be sent now."""
        with self._lock:
            self._left = self.data is None
            return self._left


class Outcome(NamedTuple):
    """What became of a request, in the form of a future that is done."""

    # Whether the connection may be kept; or gunicorn's word for one that has said nothing yet.
    keep: Any

    def cancelled(self) -> bool:
        """Say no."""
        return False

    def result(self) -> Any:
        """Return what is to be done with the connection."""
        return self.keep


Finish = Callable[[list[tuple[Any, Outcome]]], None]


class Replies:
    """Sends what is due, in the worker's pool: one task for all that are due at a time.

    A client has `patience` seconds to take what it did not take at once.
    """

    def __init__(self, pool: Executor, *, finish: Finish, request_timeout: float) -> None:
        self._pool = pool
        self._request_timeout = request_timeout
        self._finish = finish
        self._due: list[Reply] = []
        self._lock = threading.Lock()

    def due(self, reply: Reply) -> None:
        """Have an answer sent; returns at once."""
        with self._lock:
            self._due.append(reply)
            is_first = len(self._due) == 1
        if is_first:
            self._submit(self._send_due)

    def _submit(self, task: Callable[..., None], *arguments: Any) -> None:
        try:
            self._pool.submit(task, *arguments)
        except RuntimeError:
            # The pool takes nothing more at a stop: then it is done here.
            task(*arguments)

    def _send_due(self) -> None:
        with self._lock:
            due, self._due = self._due, []
        sent = []
        for reply in due:
            data = reply.data
            assert data is not None
            try:
                done = reply.conn.sock.send(data, socket.MSG_DONTWAIT)
            except BlockingIOError:
                done = 0
            except OSError:
                sent.append((reply.conn, Outcome(keep=False)))
                continue
            if done < len(data):
                # Whoever does not read his answer keeps nobody else from theirs.
                self._submit(self._send_rest, reply, data[done:])
            else:
                sent.append((reply.conn, Outcome(reply.keeps_connection)))
        self._finish(sent)

    def _send_rest(self, reply: Reply, rest: bytes) -> None:
        keep = False
        with contextlib.suppress(OSError):
            reply.conn.sock.settimeout(self._request_timeout)
            reply.conn.sock.sendall(rest)
            keep = reply.keeps_connection
        self._finish([(reply.conn, Outcome(keep))])
