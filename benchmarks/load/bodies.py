"""What clients send in every run: page views of about 430 bytes, the same ones each time."""

import json
import random
import uuid

from benchmarks import LOOPBACK

# Bodies are sent in turn, and must not come again within the 32 KiB that gzip looks back: objects
# would then compress to nearly nothing.
BODIES, PAYLOADS = 64, 6400
SEED = 430
AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/120.0 Safari/537.36"
)


def make_bodies(payloads: int, *, bare: bool = False) -> list[str]:
    """Make requests of so many payloads of about 430 B, the same ones at every call.

    `bare` ones are an array, the others a collection: an object around that.
    """
    rng = random.Random(SEED)
    count = max(BODIES, PAYLOADS // payloads)
    arrays = ([make_payload(rng) for _ in range(payloads)] for _ in range(count))
    return [
        json.dumps(array if bare else {"payloads": array}, separators=(",", ":"))
        for array in arrays
    ]


def make_requests(payloads: int) -> list[bytes]:
    """Make whole requests of these bodies, for `/payloads` on loopback."""
    head = (
        f"POST /payloads HTTP/1.1\r\nHost: {LOOPBACK}\r\nContent-Type: application/json\r\n"
        "Content-Length: {}\r\n\r\n"
    )
    bodies = [body.encode() for body in make_bodies(payloads)]
    return [head.format(len(body)).encode() + body for body in bodies]


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
