"""What a worker does now and what failed last, for those who look at the service. Data only."""

import msgspec

MAX_ERROR = 300


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """A job at a worker: which attempt it is (from 1), and since when, in seconds since 1970."""

    segment: str
    stream: str
    payloads: int
    size: int
    attempt: int
    since: float


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that failed: when, in seconds since 1970, of which object, and why."""

    at: float
    object: str
    error: str


def in_words(error: BaseException) -> str:
    """Return what is shown of an error."""
    return (str(error) or type(error).__name__)[:MAX_ERROR]
