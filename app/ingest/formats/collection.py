"""What one POST carried, once it is checked. Knows no format."""

from collections.abc import Iterator
from itertools import chain
from typing import Final, Protocol, TypeVar

import msgspec
from msgspec import Raw

from app.http.problems import Fault, NotJson, TooLarge, WrongShape, pointer
from app.ingest.formats.rejected import Rejected

# Of a large body a part at a time is a list of lines, or a string
PART_BYTES: Final = 256 << 10
# A value that is not the first of its array or object follows a comma, and a sliced value costs 70
# bytes beside its own: 16 MiB of `1,1,1,...` would cost 560 MB, this many cost 74 MB
MAX_COMMAS: Final = 1 << 20


class Collection(msgspec.Struct, frozen=True, gc=False):
    """What one POST carried; a msgspec.Struct, as a frozen dataclass takes five times as long.

    `lines` holds each payload followed by a newline, and no other newline; `count` says how many.
    `at` is the JSON pointer to the client's array, for faults that are found later. `wrapped` says
    in how many envelopes, each with the rest as its `payload`, a payload is in its line. `delivery`
    is a webhook's id.
    """

    lines: bytes
    count: int
    at: str = ""
    version: str | None = None
    token: str | None = None
    wrapped: int = 0
    delivery: str | None = None


class Reader(Protocol):
    """A format: takes a body of valid UTF-8. May also raise msgspec.DecodeError, or RecursionError.

    With `rejected` faults of single payloads are added to it, and those payloads left out.
    """

    def __call__(self, body: bytes, rejected: Rejected | None = None, /) -> Collection:
        """Read a body."""
        ...


def check_commas(body: bytes) -> None:
    """Refuse a body with more values than can be looked at in bounded memory.

    Raises:
        TooLarge: it has more than `MAX_COMMAS` commas.
    """
    if len(body) > MAX_COMMAS and body.count(b",") > MAX_COMMAS:
        raise TooLarge(f"The body has more than {MAX_COMMAS} commas: send less at once.")


def check_growth(size: int, *, limit: int) -> None:
    """Refuse payloads that their envelopes make too large, before the lines are made.

    Raises:
        TooLarge: `size` is more than `limit` bytes.
    """
    if size > limit:
        raise TooLarge(f"With their envelopes the payloads are larger than {limit} bytes.")


def raise_any(
    problem: type[NotJson] | type[WrongShape], detail: str, found: Iterator[Fault]
) -> None:
    """Raise `problem` if there is any fault, without holding them all in memory."""
    first = next(found, None)
    if first is not None:
        raise problem(detail, errors=chain([first], found))


_Payload = TypeVar("_Payload", bytes, Raw)
_BRACE: Final = ord("{")
NOT_OBJECTS: Final = "Payloads must be objects."


def only_objects(
    payloads: list[_Payload], rejected: Rejected | None, *, at: str, detail: str
) -> list[_Payload]:
    """Return the payloads that are objects, where some are none.

    Raises:
        WrongShape: some are none, and there is no `rejected` for them; `at` points to the array.
    """
    found = (
        (index, Fault(at + pointer(index), "Must be an object."))
        for index, payload in enumerate(payloads)
        if memoryview(payload)[0] != _BRACE
    )
    if rejected is None:
        raise_any(WrongShape, detail, (fault for _, fault in found))
        return payloads
    for index, fault in found:
        rejected.add(index, [fault])
    return [payload for index, payload in enumerate(payloads) if index not in rejected.indexes]
