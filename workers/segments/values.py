"""A payload's value as text in a key: one path segment, or a part of one, that hides nothing.

Readers of Hive's layout (DuckDB, pyarrow, Spark) split a key at slashes, take `name=text`, and undo
percent-escapes. Knows no template.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from workers.segments.key_template import MAX_VALUE_BYTES

# What has no text: https://cwiki.apache.org/confluence/display/Hive/Configuration+Properties
# (hive.exec.default.partition.name). DuckDB and pyarrow read it as NULL.
NO_VALUE: Final = "__HIVE_DEFAULT_PARTITION__"
# Longer ones are not worth their memory.
MAX_CACHED_BYTES: Final = 256
MAX_CACHED: Final = 4096
_string: Final = msgspec.json.Decoder(str).decode


Result = TypeVar("Result")


class Cache(dict[bytes, Result]):
    """What a function returned, by what it was called with; `cache[value]` calls it if need be.

    Emptied when it is full. A hit takes less than half of one in an `lru_cache`.
    """

    def __init__(self, made: Callable[[bytes], Result]) -> None:
        super().__init__()
        self._made = made

    def __missing__(self, value: bytes) -> Result:
        result = self._made(value)
        if len(value) <= MAX_CACHED_BYTES:
            if len(self) >= MAX_CACHED:
                self.clear()
            self[value] = result
        return result


def texts_of(values: Sequence[bytes]) -> list[str]:
    """Return the texts of several values; see `text_of`."""
    return list(map(text_of, values))


def _text_of(value: bytes) -> str:
    """Return a JSON value's text as it stands in a key.

    Strings, numbers and booleans are escaped. Anything else is `NO_VALUE`, and so is an empty
    string, as in Hive: it would be no path segment.
    """
    if value[:1] == b'"':
        return escape(_string(value) if b"\\" in value else value[1:-1].decode())
    if value[:1] in {b"n", b"{", b"["}:
        return NO_VALUE
    return escape(value.decode())


def escape(text: str) -> str:
    """Return a text percent-escaped, in at most `MAX_VALUE_BYTES`, cut between characters.

    All but unreserved characters (RFC 3986 section 2.3) are escaped as UTF-8, as DuckDB and pyarrow
    write them; so are the dots of `.` and `..`, and the first letter of what would be no value.
    """
    if text in {".", ".."}:
        return text.replace(".", "%2E")
    if text == NO_VALUE:
        return "%5F" + text[1:]
    escaped = quote(text[: MAX_VALUE_BYTES + 1], safe="")
    if len(escaped) > MAX_VALUE_BYTES:
        escaped = _cut(text)
    return escaped or NO_VALUE


def _cut(text: str) -> str:
    size, end = 0, 0
    for end, letter in enumerate(text):  # noqa: B007 (where it ends is the result)
        size += len(quote(letter, safe=""))
        if size > MAX_VALUE_BYTES:
            break
    return quote(text[:end], safe="")


_cached: Final = Cache(_text_of)
# See `_text_of`.
text_of: Final = _cached.__getitem__
