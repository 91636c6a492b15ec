"""What one POST carried, once it is checked. Knows no format."""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final, TypeAlias

import msgspec

from app.http.problems import Fault, NotJson, WrongShape

# Of a large body a part at a time is a list of lines, or a string
PART_BYTES: Final = 256 << 10


class Collection(msgspec.Struct, frozen=True, gc=False):
    """What one POST carried; a msgspec.Struct, as a frozen dataclass takes five times as long.

    `lines` holds each payload followed by a newline, and no other newline; `count` says how many.
    `at` is the JSON pointer to the client's array, for faults that are found later.
    """

    lines: bytes
    count: int
    at: str = ""
    version: str | None = None
    token: str | None = None


# A format: takes a body of valid UTF-8. May also raise msgspec.DecodeError, or RecursionError.
Reader: TypeAlias = Callable[[bytes], Collection]


def raise_any(
    problem: type[NotJson] | type[WrongShape], detail: str, found: Iterator[Fault]
) -> None:
    """Raise `problem` if there is any fault, without holding them all in memory."""
    first = next(found, None)
    if first is not None:
        raise problem(detail, errors=chain([first], found))
