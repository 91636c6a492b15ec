"""What is left to place of a request whose key is claimed. Data only."""

from collections.abc import Sequence

from workers.keys.claim import Claim
from workers.segments.partitions import Part, as_ranges


def left_of(claim: Claim, parts: Sequence[Part]) -> list[Part]:
    """Return those of a request's payloads that a crash took; all, where nothing was found."""
    if not claim.found:
        return list(parts)
    missing = {
        number
        for first, last in claim.missing(sum(part.count for part in parts))
        for number in range(first, last + 1)
    }
    left = [_only(part, missing) for part in parts]
    return [part for part in left if part.count]


def _only(part: Part, wanted: set[int]) -> Part:
    ranges = part.indexes or ((0, part.count - 1),)
    numbers = [number for first, last in ranges for number in range(first, last + 1)]
    lines = part.lines.split(b"\n")
    kept = [
        (number, line) for number, line in zip(numbers, lines, strict=False) if number in wanted
    ]
    return Part(
        part.partition,
        b"".join([line + b"\n" for _, line in kept]),
        len(kept),
        tuple(as_ranges([number for number, _ in kept])) if kept else (),
    )
