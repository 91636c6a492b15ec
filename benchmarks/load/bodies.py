"""What clients send in every run: page views of about 430 bytes, the same ones each time."""

import functools
import gzip
import json
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import zstandard

from benchmarks import LOOPBACK

# Bodies are sent in turn, and must not come again within the 32 KiB that gzip looks back: objects
# would then compress to nearly nothing.
PAYLOADS = 6400
SEED = 430
# The defaults of gzip and zstd.
GZIP_LEVEL, ZSTD_LEVEL = 6, 3
# As long as the pieces that HTTP clients commonly stream a body in.
CHUNK_BYTES = 1 << 14
AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/120.0 Safari/537.36"
)

Coding = Literal["", "gzip", "zstd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What each request carries, and how: its Content-Encoding, and whether it comes chunked.

    `bare` payloads are an array, the others a collection: an object around that.
    """

    payloads: int = 1
    bare: bool = False
    coding: Coding = ""
    chunked: bool = False


SINGLE = Body()


@functools.cache
def make_bodies(payloads: int, *, bare: bool = False) -> Sequence[str]:
    """Make documents of so many payloads of about 430 B, the same ones at every call."""
    rng = random.Random(SEED)
    count = max(1, PAYLOADS // payloads)
    arrays = ([make_payload(rng) for _ in range(payloads)] for _ in range(count))
    return tuple(
        json.dumps(array if bare else {"payloads": array}, separators=(",", ":"))
        for array in arrays
    )


def make_requests(body: Body, *, streams: int = 1) -> list[bytes]:
    """Make whole requests to `/payloads` on loopback, to so many streams in turn."""
    encode = ENCODERS[body.coding]
    bodies = [encode(text.encode()) for text in make_bodies(body.payloads, bare=body.bare)]
    # As many requests as streams at least.
    while len(bodies) < streams:
        bodies += bodies
    return [
        _request(data, body, path=f"/payloads/s{at % streams}" if streams > 1 else "/payloads")
        for at, data in enumerate(bodies)
    ]


def make_payload(rng: random.Random) -> dict[str, object]:
    """Make what an analytics client sends of a page view."""
    user = rng.randrange(100_000)
    return {
        "id": f"{rng.getrandbits(64):016x}",
        "type": rng.choice(["page_view", "page_exit", "add_to_cart"]),
        "ts": f"2026-11-23T10:{rng.randrange(60):02}:{rng.randrange(60):02}Z",
        "user": {"id": user, "name": "Ada Lovelace", "email": f"ada{user}@example.com"},
        "props": {
            "url": f"https://example.com/path/to/page?x={rng.randrange(1000)}",
            "ref": "https://search.example",
            "ua": AGENT,
            "w": rng.choice([1280, 1920, 2560]),
            "h": rng.choice([720, 1080, 1440]),
            "tags": rng.sample("abcdefgh", 3),
            "score": round(rng.random(), 5),
            "session": str(uuid.UUID(int=rng.getrandbits(128))),
        },
    }


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, GZIP_LEVEL)


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(ZSTD_LEVEL).compress(data)


ENCODERS: Mapping[Coding, Callable[[bytes], bytes]] = {"": bytes, "gzip": _gzip, "zstd": _zstd}


def _request(data: bytes, body: Body, *, path: str) -> bytes:
    head = [
        f"POST {path} HTTP/1.1",
        f"Host: {LOOPBACK}",
        "Content-Type: application/json",
        *([f"Content-Encoding: {body.coding}"] if body.coding else []),
        "Transfer-Encoding: chunked" if body.chunked else f"Content-Length: {len(data)}",
    ]
    framed = _chunks(data) if body.chunked else data
    return "\r\n".join([*head, "", ""]).encode() + framed


def _chunks(data: bytes) -> bytes:
    """Frame a body in chunks (RFC 9112, section 7.1)."""
    pieces = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])
