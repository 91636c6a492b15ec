"""What every request and answer has: an id, and errors as problem documents (RFC 9457)."""

import logging
from collections.abc import Iterable

from flask import Flask, Request, Response, g, request
from werkzeug.exceptions import HTTPException

from app.http.problems import Problem, Unavailable
from app.http.responses import Answer, failure, refusal
from app.logs import request_id, take_request_id
from app.state import state
from workers.errors import QueueError

log = logging.getLogger(__name__)

QUEUE_RETRY_SECONDS = 2


def register_request_ids(app: Flask) -> None:
    """Give each request an id, and have its response finished as those of every HTTP layer."""

    @app.before_request
    def begin() -> None:
        g.request_id = take_request_id(request.headers.get("X-Request-ID"))

    @app.teardown_request
    def forget(_: BaseException | None) -> None:
        request_id.set(None)

    @app.after_request
    def end(response: Response) -> Response:
        finisher = state().finisher
        arrival = g.get("arrival")
        if arrival is not None:
            response.headers.extend(arrival.finish(response.status_code))
        finisher.finish(response.status_code, response.headers, request_id=g.request_id)
        return response


def register_errors(app: Flask) -> None:
    """Answer every error as `application/problem+json`: never HTML, never a traceback."""

    @app.errorhandler(Problem)
    def problem(error: Problem) -> Response:
        return as_flask(refusal(error))

    @app.errorhandler(QueueError)
    def queue_error(error: QueueError) -> Response:
        log.warning("the queue does not answer", extra={"error": str(error)})
        return problem(Unavailable("The queue does not answer.", retry_after=QUEUE_RETRY_SECONDS))

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        headers = {
            name: value
            for name, value in error.get_headers()
            if name.lower() not in ("content-type", "content-length")
        }
        return problem(Problem(error.description or "", status=error.code, headers=headers))

    @app.errorhandler(Exception)
    def unforeseen(error: Exception) -> Response:
        return as_flask(failure(error))


class _AsItIs(Response):
    """A response without a type of Flask's own: where there is no body there is none."""

    default_mimetype = None


def as_flask(answer: Answer) -> Response:
    """Return a response in Flask's form, not finished yet."""
    return _AsItIs(answer.body, answer.status, answer.headers)


class FlaskHead:
    """The head of a request, as readers and the access rules look at it."""

    def __init__(self, request: Request) -> None:
        self._request = request

    @property
    def query(self) -> str:
        """The query string, undecoded."""
        return self._request.query_string.decode("latin-1")

    def header(self, name: str) -> str | None:
        """Return a header's value; several are one list."""
        return self._request.headers.get(name)

    def header_items(self) -> Iterable[tuple[str, str]]:
        """Return all headers."""
        return [(name.lower(), value) for name, value in self._request.headers.items()]
