"""Bodies of clients with a shape of their own: the payloads are where a JSON pointer says.

Values keep their bytes. Knows no HTTP server.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw

from app.http.problems import NotJson, WrongShape
from app.ingest.formats.collection import (
    NOT_OBJECTS,
    Collection,
    check_commas,
    check_growth,
    only_objects,
)
from app.ingest.formats.json_values import compact, elements
from app.ingest.formats.rejected import Rejected
from app.ingest.formats.surrogates import Masked

_members: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_text: Final = msgspec.json.Decoder(str).decode
_encode: Final = msgspec.json.Encoder().encode


def tokens(pointer: str) -> list[str]:
    """Split a JSON pointer (RFC 6901)."""
    parts = pointer.split("/")[1:]
    return [part.replace("~1", "/").replace("~0", "~") for part in parts]


def key_in(body: bytes, pointer: str) -> str | None:
    """Return the string at a JSON pointer of a body; None where there is none, or no JSON."""
    try:
        found = _find(body, pointer)
        return _text(found) if found is not None and found[:1] == b'"' else None
    except (msgspec.DecodeError, NotJson, RecursionError):
        return None


def _find(body: bytes, pointer: str) -> bytes | None:
    try:
        return _at(body.strip(), tokens(pointer))
    except msgspec.DecodeError:
        masked = Masked.of(body)
        if masked is None:
            raise
        return _at(masked.body.strip(), tokens(pointer))


def read_endpoint(
    body: bytes,
    rejected: Rejected | None = None,
    *,
    payloads: str,
    key: str | None,
    envelope: bool,
    limit: int,
) -> Collection:
    """Return the payloads of a body.

    `payloads` and `key` are JSON pointers. A single object in the place of the array is one
    payload. With `envelope` a line is `{"envelope": the members beside the payloads, without the
    key, "payload": the payload}`; all lines have `limit` bytes at most.

    Raises:
        WrongShape: the payloads are not there, or are no objects.
        TooLarge: there are too many, or they become too large.
        msgspec.DecodeError: the body is not JSON.
    """
    check_commas(body)
    value = compact(body.strip())
    path = tokens(payloads)
    found = _at(value, path)
    if found is None:
        raise WrongShape(f"There is nothing at {payloads or 'the top'} of the body.")
    if key is not None and tokens(key)[: len(path)] == path:
        # The key is in the payload.
        found = _without(found, tokens(key)[len(path) :]) or b"{}"
    items = elements(found) if found[:1] == b"[" else [found]
    if not items:
        raise WrongShape("There are no payloads.")
    items = only_objects(items, rejected, at=payloads, detail=NOT_OBJECTS)
    if envelope:
        rest = _without(value, path)
        if key is not None and rest is not None:
            rest = _without(rest, tokens(key))
        items = _wrapped(items, rest or b"{}", limit=limit)
    lines = b"".join([item + b"\n" for item in items])
    return Collection(lines, len(items), payloads, wrapped=int(envelope))


def _wrapped(items: list[bytes], envelope: bytes, *, limit: int) -> list[bytes]:
    opening = b'{"envelope":' + envelope + b',"payload":'
    check_growth(sum(map(len, items)) + len(items) * (len(opening) + 2), limit=limit)
    return [opening + item + b"}" for item in items]


def _at(value: bytes, path: list[str]) -> bytes | None:
    for token in path:
        if value[:1] != b"{":
            return None
        member = _members(value).get(token)
        if member is None:
            return None
        value = bytes(member)
    return value


def _without(value: bytes, path: list[str]) -> bytes | None:
    """Return an object without the member at `path`; None where nothing is left of it."""
    if not path:
        return None
    if value[:1] != b"{":
        return value
    members: dict[str, Any] = dict(_members(value))
    token, *deeper = path
    if token in members:
        rest = _without(bytes(members[token]), deeper) if deeper else None
        if rest is None:
            del members[token]
        else:
            members[token] = Raw(rest)
    return _encode(members)
