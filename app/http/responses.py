"""Answers as every HTTP layer sends them, and the log line and counter that each leaves behind.

Knows problems and the ledger's fields, no Flask.
"""

import logging
from typing import NamedTuple

from app.http.problems import CONTENT_TYPE, Problem
from workers.spool.counters import Field

log = logging.getLogger(__name__)

JSON = ("Content-Type", "application/json")
# The counter of each status that the ledger counts.
COUNTERS = {
    int(field.name.removeprefix("REQUESTS_")): field
    for field in Field
    if field.name.startswith("REQUESTS_")
}


class Answer(NamedTuple):
    """A whole answer but for what its HTTP layer adds, such as the length."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def refusal(problem: Problem) -> Answer:
    """Return a problem as an answer, and log it."""
    log.info("refused", extra={"status": problem.status, "detail": problem.detail})
    headers = [("Content-Type", CONTENT_TYPE), *problem.headers.items()]
    return Answer(problem.status, headers, problem.body())


def failure(error: BaseException) -> Answer:
    """Return what a client is told when something of ours went wrong, and log what it was."""
    log.error("request failed", exc_info=error)
    return refusal(Problem("Something is wrong here; see the service's log."))
