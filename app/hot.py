"""The hot route: small plain POSTs of collections, without Flask's 50 microseconds.

The same front door as Flask's routes, and byte for byte the same answers. It takes what it can
hold in memory at once and answer without looking further; everything else is Flask's.
"""

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from werkzeug.http import HTTP_STATUS_CODES

from app.answers import Answer, failure, refusal
from app.front_door import FrontDoor
from app.logs import request_id, take_request_id
from app.problems import Problem
from app.reading import read_body
from workers.errors import NotDurable
from workers.journal import Ticket
from workers.keys import STREAM

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

PATH = "/payloads"
DEFAULT_STREAM = "default"
Send = Callable[[Answer], None]
_STATUS_LINES = {code: f"{code} {text.upper()}" for code, text in HTTP_STATUS_CODES.items()}


class HotRoute:
    """Safe to share between threads. `largest` is the largest body for this route, in bytes."""

    def __init__(self, door: FrontDoor, *, largest: int) -> None:
        self.largest = largest
        self._door = door

    def stream(self, method: str, path: str, *, length: str | None, plain: bool) -> str | None:
        """Return the stream of a request that is for this route, None for any other.

        `plain` says that the body is neither chunked nor under a Content-Encoding.
        """
        if method != "POST" or not plain or not path.startswith(PATH):
            return None
        if length is None or not length.isdecimal() or int(length) > self.largest:
            return None
        if path == PATH:
            return DEFAULT_STREAM
        name = path[len(PATH) + 1 :]
        return name if path[len(PATH)] == "/" and STREAM.fullmatch(name) else None

    def begin(
        self, stream: str, body: bytes, *, content_type: str, sent_id: str | None, send: Send
    ) -> None:
        """Take a body and have `send` called once, perhaps by the committer's thread, later.

        Does not block, and does not raise.
        """
        chosen = take_request_id(sent_id)
        try:
            taken = self._door.take(stream, body, content_type=content_type)
        except Problem as problem:
            self._finish(refusal(problem), chosen, send)
            return
        except Exception as error:  # noqa: BLE001 (whatever it is, the client gets an answer)
            self._finish(failure(error), chosen, send)
            return
        answer = taken.answer

        def settled(ticket: Ticket) -> None:
            self._finish(answer if ticket.refused is None else self._late(ticket, chosen), chosen, send)

        taken.ticket.then(settled)

    def refuse(self, problem: Problem, *, sent_id: str | None, send: Send) -> None:
        """Answer a request whose body did not come."""
        self._finish(refusal(problem), take_request_id(sent_id), send)

    def _late(self, ticket: Ticket, chosen: str) -> Answer:
        """Return the answer to a collection that turned out not to be safe."""
        request_id.set(chosen)
        return refusal(self._door.problem(NotDurable(ticket.refused)))

    def _finish(self, answer: Answer, chosen: str, send: Send) -> None:
        answer.headers.append(("X-Request-ID", chosen))
        self._door.count(answer.status)
        send(answer)


class HotMiddleware:
    """The hot route as WSGI (PEP 3333), in front of an application that takes everything else."""

    def __init__(self, application: "WSGIApplication", *, hot: HotRoute) -> None:
        self._application = application
        self._hot = hot

    def __call__(
        self, environ: dict[str, Any], start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer a request; blocks until its payloads are safe."""
        stream = self._hot.stream(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            length=environ.get("CONTENT_LENGTH"),
            plain="HTTP_CONTENT_ENCODING" not in environ
            and "HTTP_TRANSFER_ENCODING" not in environ,
        )
        if stream is None:
            return self._application(environ, start_response)
        answer = self._answer(environ, stream)
        headers = [*answer.headers, ("Content-Length", str(len(answer.body)))]
        start_response(_STATUS_LINES[answer.status], headers)
        return [answer.body]

    def _answer(self, environ: dict[str, Any], stream: str) -> Answer:
        answers: list[Answer] = []
        answered = threading.Lock()
        answered.acquire()

        def send(answer: Answer) -> None:
            answers.append(answer)
            answered.release()

        sent_id = environ.get("HTTP_X_REQUEST_ID")
        try:
            body = read_body(environ, limit=self._hot.largest)
        except Problem as problem:
            self._hot.refuse(problem, sent_id=sent_id, send=send)
        else:
            content_type = environ.get("CONTENT_TYPE", "")
            self._hot.begin(stream, body, content_type=content_type, sent_id=sent_id, send=send)
        answered.acquire()
        request_id.set(None)
        return answers[0]
