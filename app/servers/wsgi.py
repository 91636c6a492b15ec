"""The hot route as WSGI (PEP 3333), in front of an application that takes everything else.

For servers that call WSGI only: gthread, and any other.
"""

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from werkzeug.http import HTTP_STATUS_CODES

from app.http.problems import Problem
from app.http.responses import Answer
from app.http.wsgi_body import read_body
from app.ingest.fast_path import FastPath

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

# As werkzeug writes them for Flask.
STATUS_LINES = {code: f"{code} {text.upper()}" for code, text in HTTP_STATUS_CODES.items()}


class FastPathMiddleware:
    """A WSGI application: the hot route, or else `application`."""

    def __init__(self, application: "WSGIApplication", *, fast_path: FastPath) -> None:
        self.application = application
        self.fast_path = fast_path

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        """Answer a request; blocks until its payloads are safe."""
        stream = self.fast_path.stream(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            length=environ.get("CONTENT_LENGTH"),
            plain="HTTP_CONTENT_ENCODING" not in environ
            and "HTTP_TRANSFER_ENCODING" not in environ,
        )
        if stream is None:
            return self.application(environ, start_response)
        answer = self._answer(environ, stream)
        headers = [*answer.headers, ("Content-Length", str(len(answer.body)))]
        start_response(STATUS_LINES[answer.status], headers)
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
            body = read_body(environ, limit=self.fast_path.largest)
        except Problem as problem:
            self.fast_path.refuse(problem, sent_id=sent_id, send=send)
        else:
            content_type = environ.get("CONTENT_TYPE", "")
            self.fast_path.begin(
                stream, body, content_type=content_type, sent_id=sent_id, send=send
            )
        answered.acquire()
        return answers[0]
