"""What a client learns from an answer, and what in it breaks the contract."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import ACCEPTED, SERVICE_UNAVAILABLE, HTTPResponse
from typing import Any, Literal

NO_RETRY_AFTER = "a 503 without Retry-After"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where a 202 says that payloads are: `count` lines of an object; the first line is 1."""

    id: str
    object: str
    first_line: int
    count: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the request with payloads `first` to `first + count - 1`.

    `status` is None where the connection broke before an answer: those payloads may be stored.
    """

    first: int
    count: int
    status: int | None
    receipts: Sequence[Receipt] = ()

    @property
    def verdict(self) -> Literal["acked", "refused", "unknown"]:
        """Say what the client knows of these payloads."""
        if self.status is None:
            return "unknown"
        return "acked" if self.status == ACCEPTED else "refused"

    @property
    def numbers(self) -> range:
        """The numbers of its payloads, in the order they were sent."""
        return range(self.first, self.first + self.count)


def read_answer(
    response: HTTPResponse, body: bytes, count: int
) -> tuple[Sequence[Receipt], list[str]]:
    """Read an answer: its receipts, and what in it breaks the contract."""
    if response.status == SERVICE_UNAVAILABLE and not response.headers.get("Retry-After"):
        return (), [NO_RETRY_AFTER]
    if response.status != ACCEPTED:
        return (), []
    try:
        said: Any = json.loads(body)
        receipts = tuple(
            Receipt(str(r["id"]), str(r["object"]), int(r["first_line"]), int(r["count"]))
            for r in said["receipts"]
        )
    except (ValueError, KeyError, TypeError) as error:
        return (), [f"a 202 without receipts ({error!r}): {body[:200]!r}"]
    if said.get("accepted") != count or sum(receipt.count for receipt in receipts) != count:
        return receipts, [f"a 202 to {count} payloads that speaks of others: {body[:200]!r}"]
    return receipts, []
