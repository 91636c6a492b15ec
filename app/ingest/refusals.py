"""The responses to collections that the pipeline refused. Knows no HTTP layer."""

from collections.abc import Callable
from typing import Final

from app.http.problems import NotConfirmed as NotConfirmedProblem
from app.http.problems import Problem, TooLarge, Unavailable
from workers.errors import (
    KeyInUse,
    KeyReused,
    NotConfirmed,
    Refusal,
    TooManyPayloads,
    UnknownStream,
)

# A key is another request's for a moment only.
KEY_RETRY_SECONDS: Final = 1


def problem_of(refusal: Refusal, *, retry_after: Callable[[], int]) -> Problem:
    """Return the response to a refusal; `retry_after` says in how many seconds to try again."""
    if isinstance(refusal, TooManyPayloads):
        return TooLarge(str(refusal))
    if isinstance(refusal, UnknownStream):
        return Problem(f"Not accepted: {refusal}.", status=404)
    if isinstance(refusal, KeyReused):
        return Problem(f"Not accepted: {refusal}.", status=422)
    if isinstance(refusal, KeyInUse):
        headers = {"Retry-After": str(KEY_RETRY_SECONDS)}
        return Problem(f"Not now: {refusal}.", status=409, headers=headers)
    if isinstance(refusal, NotConfirmed):
        return NotConfirmedProblem(f"Not confirmed: {refusal}.", retry_after=retry_after())
    return Unavailable(f"Not accepted: {refusal}.", retry_after=retry_after())
