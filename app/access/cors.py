"""CORS: the headers by which a browser lets a page of another origin post here.

The protocol: https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from app.access.rules import Cors

METHODS = "POST"
EXPOSED = "Location, Retry-After, X-Request-ID"
# What clients of ours may send; a preflight's own list is not echoed.
ALLOWED_HEADERS = (
    "Authorization, Content-Type, Content-Encoding, Idempotency-Key, Prefer, X-API-Key"
)
Headers = list[tuple[str, str]]


def headers(cors: Cors | None, *, origin: str | None, stream: str) -> Headers:
    """Return what a response to a POST carries, errors included; nothing where it is not allowed.

    The origin is echoed, never `*`: browsers refuse that for requests with credentials, which
    `navigator.sendBeacon` always makes.
    """
    if cors is None or stream not in cors.streams:
        return []
    # A cache must not give one origin's response to another, allowed or not.
    vary = [("Vary", "Origin")]
    if origin is None or not cors.allows(origin):
        return vary
    return [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Expose-Headers", EXPOSED),
        *vary,
    ]


def preflight(cors: Cors | None, *, origin: str | None, stream: str) -> Headers:
    """Return the headers of the 204 to an `OPTIONS` request; nothing allows nothing."""
    found = headers(cors, origin=origin, stream=stream)
    if cors is None or len(found) <= 1:
        return found
    return [
        *found,
        ("Access-Control-Allow-Methods", METHODS),
        ("Access-Control-Allow-Headers", ALLOWED_HEADERS),
        ("Access-Control-Max-Age", str(cors.max_age_seconds)),
    ]
