"""Finds the key in a request, and says what its holder may do. Knows headers, no server."""

import base64
import binascii
import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from app.access.rules import Key, Rules, StreamPatterns
from app.http.problems import Problem

# RFC 7617 allows more; a key of ours has 43 characters.
MAX_CREDENTIAL = 1024
MAX_QUERY = 8192
MAX_SEEN = 4096
Header = Callable[[str], str | None]


class Unauthorized(Problem):
    """401: there is no key, or it is unknown. RFC 9110 section 15.5.2 asks for the scheme."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, status=401, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(Problem):
    """403: the key is known, and does not allow this."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, status=403)


def digest(key: str) -> bytes:
    """Return what a key is looked up by: its SHA-256.

    A plain hash is enough where keys have 256 random bits: there is no dictionary to try.
    """
    return hashlib.sha256(key.encode()).digest()


def find_key(rules: Rules, *, header: Header, query: str) -> Key | None:
    """Return the key in a request's headers or URL; None where there is none.

    `header` returns a header's value by its lower-case name.

    Raises:
        Unauthorized: a key is there, and is not known.
    """
    authorization = header("authorization")
    if authorization is not None:
        key = rules.seen.get(authorization)
        if key is None:
            key = known_key(rules, _authorized(authorization))
            if len(rules.seen) < MAX_SEEN and len(authorization) <= MAX_CREDENTIAL:
                rules.seen[authorization] = key
        return key
    api_key = header("x-api-key")
    if api_key is not None:
        return known_key(rules, [api_key])
    given = _in_query(query)
    if given:
        key = known_key(rules, given[:1])
        if not key.url:
            raise Unauthorized("This key may not come in a URL.")
        return key
    return None


def names_key(header: Header, query: str) -> bool:
    """Whether a request has what may be a key in its headers or URL."""
    return (
        header("authorization") is not None
        or header("x-api-key") is not None
        or bool(_in_query(query))
    )


def _in_query(query: str) -> list[str]:
    if "key=" not in query or len(query) > MAX_QUERY:
        return []
    return [value for name, value in parse_qsl(query) if name == "key"]


def check(key: Key | None, *, action: str, stream: str | None, now: float | None = None) -> Key:
    """Return the key if it allows `action` (`write`, `read`, `admin`), on `stream` if there is one.

    Raises:
        Unauthorized: there is no key.
        Forbidden: it does not allow this, or has expired.
    """
    if key is None:
        raise Unauthorized("A key is needed: `Authorization: Bearer`, HTTP Basic, or `X-API-Key`.")
    if key.expires is not None:
        today = datetime.fromtimestamp(time.time() if now is None else now, UTC).date()
        if today > key.expires:
            raise Forbidden("The key has expired.")
    if not key.can(action):
        raise Forbidden(f"The key's scope does not allow this: it needs `{action}`.")
    if stream is not None and not may_use(key.streams, stream):
        raise Forbidden("The key does not allow this stream.")
    return key


def may_use(streams: StreamPatterns, stream: str | None) -> bool:
    """Whether patterns allow a stream; one that is not known (None) only if they allow all."""
    return streams.patterns == ("*",) or (stream is not None and stream in streams)


def _authorized(value: str) -> list[str]:
    """Return what may be the key in an `Authorization` header: two candidates with Basic."""
    scheme, _, rest = value.partition(" ")
    rest = rest.strip()
    if len(rest) > MAX_CREDENTIAL:
        return []
    if scheme.lower() == "bearer":
        return [rest]
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(rest, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return []
        # Segment's libraries send the key as user name, rsyslog and others as password.
        return [part for part in (user, password) if part]
    return []


def known_key(rules: Rules, candidates: list[str]) -> Key:
    """Return the first known key among what may be one.

    Raises:
        Unauthorized: there is none.
    """
    for candidate in candidates:
        if len(candidate) <= MAX_CREDENTIAL:
            key = rules.keys.get(digest(candidate))
            if key is not None:
                return key
    raise Unauthorized("The key is not known.")
