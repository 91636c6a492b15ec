"""Collections to accept, and where they went."""

from tests.support.bench import Bench


def payloads(count: int, *, size: int = 10) -> list[bytes]:
    """Make payloads of a size, their newline included."""
    return [b'{"n":"%s"}' % (b"x" * (size - 9))] * count


def places(bench: Bench, *counts: int) -> list[list[tuple[str, int, int]]]:
    """Accept collections of so many payloads; return each one's receipts."""
    return [
        [(r.header.name, r.first_line, r.count) for r in bench.accept(*payloads(count))]
        for count in counts
    ]


def flood(bench: Bench, *collection: bytes) -> None:
    """Send the same collection until it is refused, a thousand times at most."""
    for _ in range(1000):
        bench.accept(*collection)
