"""Responses as every HTTP layer sends them, and the one place where each is finished.

Knows problems and the counters' fields, no Flask.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from app.http.problems import CONTENT_TYPE, Problem
from app.logs import request_id, take_request_id
from workers.spool.counters import Field

log = logging.getLogger(__name__)

JSON = ("Content-Type", "application/json")
# The counter of each status that has one.
COUNTERS = {
    int(field.name.removeprefix("REQUESTS_")): field
    for field in Field
    if field.name.startswith("REQUESTS_")
}


class Answer(msgspec.Struct, frozen=True):
    """A whole response but for what its HTTP layer adds, such as the length."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


Send = Callable[[Answer], None]


class Headers(Protocol):
    """A list of headers, or werkzeug's own kind."""

    def extend(self, more: Iterable[tuple[str, str]], /) -> None:
        """Add headers at the end."""


class Finisher:
    """Finishes every response, whichever way its request took. Safe to share between threads.

    `count` adds to a counter; it does not block.
    """

    def __init__(self, count: Callable[[Field, int], None]) -> None:
        self._count = count

    def finish(self, status: int, headers: Headers, *, request_id: str) -> None:
        """Add the request's id to a response's headers, and count its status."""
        headers.extend((("X-Request-ID", request_id),))
        self._count_status(status, 1)

    def finish_all(self, answers: Iterable[tuple[Answer, str]]) -> None:
        """Finish responses that leave together, each given with its request's id."""
        counts: dict[int, int] = {}
        for answer, id in answers:
            answer.headers.append(("X-Request-ID", id))
            counts[answer.status] = counts.get(answer.status, 0) + 1
        for status, number in counts.items():
            self._count_status(status, number)

    def send(self, make: Callable[[], Answer], *, sent_id: str | None, send: Send) -> None:
        """Make a response, finish it, and send it. Raises nothing of `make`'s.

        `sent_id` is the request id that the client sent, if any.
        """
        chosen = take_request_id(sent_id)
        try:
            answer = make()
        except Exception as error:  # noqa: BLE001 (the client gets an answer for any error)
            answer = failure(error)
        self.finish(answer.status, answer.headers, request_id=chosen)
        send(answer)
        request_id.set(None)

    def _count_status(self, status: int, number: int) -> None:
        field = COUNTERS.get(status)
        if field is not None:
            self._count(field, number)


def refusal(problem: Problem) -> Answer:
    """Return a problem as a response, and log it."""
    log.info("refused", extra={"status": problem.status, "detail": problem.detail})
    headers = [("Content-Type", CONTENT_TYPE), *problem.headers.items()]
    return Answer(problem.status, headers, problem.body())


def fault(error: BaseException) -> Problem:
    """Return the problem of a request that failed by a fault of ours; log the traceback."""
    log.error("request failed", exc_info=error)
    return Problem("Something is wrong here; see the service's log.")


def failure(error: BaseException) -> Answer:
    """Return the response to a request that failed: by a problem, or a `fault` of ours."""
    return refusal(error if isinstance(error, Problem) else fault(error))
