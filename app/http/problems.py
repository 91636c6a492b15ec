"""Every refusal as an RFC 9457 problem document. Knows no Flask and no pipeline.

Problem
├── BadRequest           400: the bytes are not what they claim to be
│   ├── NotJson            …not JSON, or not UTF-8
│   └── Corrupt            …not whole, or damaged, under their Content-Encoding
├── TooLarge             413: send less at once
├── UnsupportedType      415: another media type or content coding, please
├── WrongShape           422: it is JSON, but not a collection of payloads
└── Unavailable          503: not now; come back after `Retry-After` seconds
    └── NotConfirmed       …and the payloads of this request may still be stored

The type of every problem but `NotConfirmed` is "about:blank": the status says the kind, `detail`
and `errors` say the rest, and there is no page behind a type URI to look up (RFC 9457 section
4.2.1).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import Self

CONTENT_TYPE = "application/problem+json"
MAX_FAULTS = 100
MAX_COUNTED = 10_000
MAX_POINTER = 256
MAX_DETAIL = 512
# HTTPStatus still has the names of RFC 7231 for these
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and where: an RFC 6901 JSON pointer into the body."""

    pointer: str
    detail: str


def pointer(*parts: str | int) -> str:
    """Return the JSON pointer to `parts`, with `~` and `/` escaped (RFC 6901 section 3)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


class Problem(Exception):
    """A request that is answered with a problem document instead of what it asked for.

    `errors` may be lazy: the first `MAX_FAULTS` are kept to be listed, the others only counted, up
    to `MAX_COUNTED`, so that a body of millions of faults costs neither memory nor seconds.
    """

    default_status = HTTPStatus.INTERNAL_SERVER_ERROR
    type = "about:blank"

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        errors: Iterable[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = int(self.default_status if status is None else status)
        self.title = _TITLES.get(self.status) or HTTPStatus(self.status).phrase
        self.headers = dict(headers or {})
        faults = iter(errors)
        self.errors = tuple(islice(faults, MAX_FAULTS))
        unlisted = sum(1 for _ in islice(faults, MAX_COUNTED - MAX_FAULTS))
        self.detail = detail + _summary(len(self.errors) + unlisted) if unlisted else detail

    def without_frames(self) -> Self:
        """Forget where it was raised, and return itself.

        A request that keeps its problem would be in a cycle through the frames: its connection
        stays open until garbage is collected.
        """
        return self.with_traceback(None)

    def body(self) -> bytes:
        """Return the application/problem+json document (RFC 9457 section 3). Does not block."""
        document: dict[str, object] = {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = list(map(listed, self.errors))
        return json.dumps(document).encode()


def listed(fault: Fault) -> dict[str, str]:
    """Return a fault as it is in a response."""
    return {
        "pointer": _cut(fault.pointer, MAX_POINTER),
        "detail": _cut(fault.detail, MAX_DETAIL),
    }


def _summary(total: int) -> str:
    more = " or more" if total == MAX_COUNTED else ""
    return f" There are {total}{more} faults; the first {MAX_FAULTS} are listed."


def _cut(text: str, length: int) -> str:
    """Shorten a name of a client's or a message of a schema's, so that the answer stays small."""
    return text if len(text) <= length else text[: length - 1] + "…"


class BadRequest(Problem):
    """The request cannot be read at all."""

    default_status = HTTPStatus.BAD_REQUEST


class NotJson(BadRequest):
    """The body is not JSON, or not UTF-8."""


class Corrupt(BadRequest):
    """The body is not whole, or damaged, under its Content-Encoding."""


class TooLarge(Problem):
    """The body is larger than this service takes at once."""

    default_status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedType(Problem):
    """The media type or the content coding is none of ours.

    RFC 9110 section 15.5.16: `Accept` says which types would do, `Accept-Encoding` which codings.
    """

    default_status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class WrongShape(Problem):
    """The body is JSON, but not a collection of payloads."""

    default_status = HTTPStatus.UNPROCESSABLE_ENTITY


class Unavailable(Problem):
    """There is no room now, or the process is stopping; `retry_after` is in seconds.

    Nothing was kept, unless it is `NotConfirmed`.
    """

    default_status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(max(1, retry_after))})


class NotConfirmed(Unavailable):
    """Whether the payloads are kept is unknown: a client that sends them again may double them."""

    type = "urn:bucket-brigade:not-confirmed"


def too_large(limit: int) -> TooLarge:
    """Return the answer to a body of more than `limit` bytes."""
    return TooLarge(f"The body is larger than {limit} bytes.")


def incomplete() -> Problem:
    """Return the answer to a body that stops arriving: RFC 9110 section 15.5.9."""
    return Problem("The body did not arrive whole in time.", status=408)


def broken_chunks() -> BadRequest:
    """Return the answer to a chunked body that breaks off, or whose chunks are none."""
    return BadRequest("The body's chunks are broken.")
