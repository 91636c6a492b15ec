"""The `Prefer` header (RFC 7240): what a request prefers, and what was done about it.

Knows no HTTP layer. A request without the header has none of this.
"""

import re
from collections.abc import Iterator
from typing import Final, Self

from app.ingest.arrival import Arrival, has_own_answer
from app.ingest.formats.rejected import Rejected
from app.ingest.known_key import KnownKey
from workers.segments.finish import Finish

# A longer header is ignored.
MAX_HEADER: Final = 1024
MAX_WAIT_SECONDS: Final = 30
_BLANK: Final = " \t"
_ESCAPED: Final = re.compile(r"\\(.)")


class Preferences:
    """One request's preferences, `wait` in seconds, and what became of them.

    `finish` is how the wait ended; `rejected` has the faults of payloads that were left out, None
    where none may be.
    """

    __slots__ = ("finish", "rejected", "wait")

    def __init__(self, *, wait: int | None = None, rejected: Rejected | None = None) -> None:
        self.wait = wait
        self.finish = Finish.NOT_AWAITED
        self.rejected = rejected

    @classmethod
    def of(
        cls, header: str, *, max_wait: int = MAX_WAIT_SECONDS, can_reject: bool = True
    ) -> Self | None:
        """Read a header's value, of several all as one list; None where there is nothing to do.

        Of a preference that is there twice the first counts. What is not known, and a value that is
        none, is ignored (RFC 7240 section 2).
        """
        found: dict[str, str] = {}
        for name, value in _preferences(header):
            found.setdefault(name, value)
        wait: int | None = None
        seconds = found.get("wait", "")
        # RFC 9111 section 1.2.2: delta-seconds
        if seconds.isascii() and seconds.isdigit():
            wait = min(int(seconds), max_wait)
        is_lenient = can_reject and found.get("handling", "").lower() == "lenient"
        # No time to wait is what every request gets.
        if not wait and not is_lenient:
            return None
        return cls(wait=wait or None, rejected=Rejected() if is_lenient else None)

    @property
    def is_stored(self) -> bool:
        """Whether all payloads are in S3, so that the status is 201."""
        return self.finish is Finish.STORED

    def applied(self) -> list[tuple[str, str]]:
        """Return the header that says what was done; nothing where nothing was."""
        done = [] if self.rejected is None else ["handling=lenient"]
        if self.wait is not None and self.finish is not Finish.NOT_AWAITED:
            done.append(f"wait={self.wait}")
        return [("Preference-Applied", ", ".join(done))] if done else []


def preferences_of(
    arrival: Arrival | KnownKey | None, prefer: str, *, max_wait: int = MAX_WAIT_SECONDS
) -> Preferences | None:
    """Read the header `prefer` of a request; None where there is nothing to do about it."""
    way = arrival.way if isinstance(arrival, Arrival) else None
    if way is not None and has_own_answer(way.rule):
        return None
    # A webhook is kept whole.
    can_reject = way is None or way.webhook is None
    return Preferences.of(prefer, max_wait=max_wait, can_reject=can_reject)


def _preferences(header: str) -> Iterator[tuple[str, str]]:
    """Yield names in lower case and values; parameters mean nothing to the preferences here."""
    if len(header) > MAX_HEADER:
        return
    for item in _split(header, ","):
        name, _, value = next(_split(item, ";")).partition("=")
        yield name.strip(_BLANK).lower(), _unquote(value.strip(_BLANK))


def _split(text: str, separator: str) -> Iterator[str]:
    """Split at a separator outside of quoted strings (RFC 9110 section 5.6.4)."""
    start = 0
    is_quoted = is_escaped = False
    for at, character in enumerate(text):
        if is_escaped:
            is_escaped = False
        elif character == "\\" and is_quoted:
            is_escaped = True
        elif character == '"':
            is_quoted = not is_quoted
        elif character == separator and not is_quoted:
            yield text[start:at]
            start = at + 1
    yield text[start:]


def _unquote(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return _ESCAPED.sub(r"\1", value[1:-1])
    return value
