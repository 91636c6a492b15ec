"""What a client learns from an answer, and what in it breaks the contract."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import ACCEPTED, CREATED, SERVICE_UNAVAILABLE
from typing import Any, Literal, NamedTuple, Self

NO_RETRY_AFTER = "a 503 without Retry-After"
NOT_CONFIRMED = b"urn:bucket-brigade:not-confirmed"


class Answer(NamedTuple):
    """An answer as it came; the names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where a 202 says that payloads are: `count` lines of an object; the first line is 1.

    `indexes` are ranges of payloads of the request, None where the receipts have them in order.
    """

    id: str
    object: str
    first_line: int
    count: int
    indexes: Sequence[tuple[int, int]] | None = None

    @classmethod
    def of(cls, said: Any) -> Self:
        """Read one in an answer."""
        indexes = said.get("indexes")
        return cls(
            str(said["id"]),
            str(said["object"]),
            int(said["first_line"]),
            int(said["count"]),
            None if indexes is None else [(int(first), int(last)) for first, last in indexes],
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the request with payloads `first` to `first + count - 1`.

    `status` is None where the connection broke before an answer, or that was *not confirmed*: those
    payloads may be stored.
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
        return "acked" if self.status in {ACCEPTED, CREATED} else "refused"

    @property
    def numbers(self) -> range:
        """The numbers of its payloads, in the order they were sent."""
        return range(self.first, self.first + self.count)

    def promised(self) -> dict[int, tuple[str, int]]:
        """Return for each index of a payload the object and the line that its receipt names."""
        places: dict[int, tuple[str, int]] = {}
        for receipt in self.receipts:
            ranges = receipt.indexes or [(len(places), len(places) + receipt.count - 1)]
            indexes = [index for first, last in ranges for index in range(first, last + 1)]
            lines = range(receipt.first_line, receipt.first_line + receipt.count)
            places |= {
                index: (receipt.object, line) for index, line in zip(indexes, lines, strict=False)
            }
        return places


def read_answer(answer: Answer, count: int) -> tuple[Sequence[Receipt], list[str]]:
    """Read an answer: its receipts, and what in it breaks the contract."""
    status, headers, body = answer
    if status == SERVICE_UNAVAILABLE and not headers.get("retry-after"):
        return (), [NO_RETRY_AFTER]
    if status not in {ACCEPTED, CREATED}:
        return (), []
    try:
        said: Any = json.loads(body)
        receipts = tuple(map(Receipt.of, said["receipts"]))
    except (ValueError, KeyError, TypeError) as error:
        return (), [f"a 202 without receipts ({error!r}): {body[:200]!r}"]
    if said.get("accepted") != count or sum(receipt.count for receipt in receipts) != count:
        return receipts, [f"a 202 to {count} payloads that speaks of others: {body[:200]!r}"]
    return receipts, []
