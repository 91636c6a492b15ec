"""The judge of exactly-once: what clients were answered against what is in the bucket.

Knows the promise (202: stored once, where the receipt says; refused: not stored), not the service.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.support.flood import Flood
from tests.support.outcomes import Outcome
from tests.support.s3 import FakeS3

EXAMPLES = 5
# How a payload begins that is stored as it was sent.
SENT = re.compile(rb'\{"id":"([^"\\]+)-(\d+)"')


class Place(NamedTuple):
    """A line of an object; the first line is 1."""

    object: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The finding: how many payloads there were, and every one that breaks the promise."""

    acked: int
    refused: int
    unknown: int
    # Lines in the bucket that came from these floods.
    stored: int
    lost: list[str]
    twice: list[str]
    refused_but_stored: list[str]
    # Stored, but not at the object and line of the receipt.
    misplaced: list[str]
    # Stored, but as another value than was sent.
    altered: list[str]
    # Answers that break the contract: a 503 without Retry-After, a 202 without receipts.
    malformed: list[str]

    @property
    def faults(self) -> dict[str, list[str]]:
        """Everything that must be empty, by name."""
        names = ("lost", "twice", "refused_but_stored", "misplaced", "altered", "malformed")
        return {name: found for name in names if (found := getattr(self, name))}

    def __str__(self) -> str:
        counts = f"acked {self.acked}, refused {self.refused}, unknown {self.unknown}"
        lines = [f"{counts}; stored {self.stored}"]
        for name, found in self.faults.items():
            more = f" … {len(found) - EXAMPLES} more" if len(found) > EXAMPLES else ""
            lines.append(f"{name} {len(found)}: {', '.join(found[:EXAMPLES])}{more}")
        return "\n".join(lines)

    def assert_clean(self) -> None:
        """Hold the promise.

        Raises:
            AssertionError: it was broken; with the counts and a few examples of each kind.
        """
        if self.faults:
            raise AssertionError(f"the promise was broken\n{self}")


def judge(floods: Flood | Sequence[Flood], s3: FakeS3, bucket: str | None = None) -> Verdict:
    """Compare all that these floods were answered with all that the bucket holds.

    Lines of others are not its business. Call it when the floods have ended and the service has
    nothing pending. Blocks while it fetches and reads the whole bucket.
    """
    given = [floods] if isinstance(floods, Flood) else list(floods)
    bucket = bucket or s3.bucket
    places, altered = _find(given, s3, bucket)
    outcomes = [(flood, outcome) for flood in given for outcome in flood.outcomes]
    ids: dict[str, list[str]] = {"acked": [], "refused": [], "unknown": []}
    misplaced: list[str] = []
    for flood, outcome in outcomes:
        ids[outcome.verdict] += map(flood.name, outcome.numbers)
        if outcome.verdict == "acked":
            misplaced += _misplaced(flood, outcome, places)
    return Verdict(
        acked=len(ids["acked"]),
        refused=len(ids["refused"]),
        unknown=len(ids["unknown"]),
        stored=sum(map(len, places.values())),
        lost=[name for name in ids["acked"] if name not in places],
        twice=[f"{name} at {where}" for name, where in places.items() if len(where) > 1],
        refused_but_stored=[
            f"{name} at {places[name]}" for name in ids["refused"] if name in places
        ],
        misplaced=misplaced,
        altered=altered,
        malformed=[fault for flood in given for fault in flood.malformed],
    )


def _find(
    floods: Sequence[Flood], s3: FakeS3, bucket: str
) -> tuple[dict[str, list[Place]], list[str]]:
    """Return where each id of the floods lies, and what does not lie there as it was sent."""
    by_prefix = {flood.plan.prefix: flood for flood in floods}
    places: dict[str, list[Place]] = {}
    altered = []
    for key, number, line in s3.lines(bucket):
        place = Place(f"s3://{bucket}/{key}", number)
        if name := _sent_name(line, by_prefix):
            places.setdefault(name, []).append(place)
            continue
        payload = _payload(line)
        if payload is None:
            altered.append(f"{place} is not an object of JSON: {line[:80]!r}")
            continue
        name = str(payload.get("id"))
        if flood := by_prefix.get(name.rpartition("-")[0]):
            places.setdefault(name, []).append(place)
            if payload != json.loads(flood.payload(int(name.rpartition("-")[2]))):
                altered.append(f"{name} at {place}")
    return places, altered


def _sent_name(line: bytes, by_prefix: Mapping[str, Flood]) -> str | None:
    """Return the id of a line that is a payload of the floods, byte for byte as it was sent."""
    if (match := SENT.match(line)) and (flood := by_prefix.get(match[1].decode())):
        number = int(match[2])
        return flood.name(number) if line == flood.payload(number) else None
    return None


def _payload(line: bytes) -> dict[str, Any] | None:
    """Read a line: the payload alone, or in the envelope that LINE_FORMAT may put around it."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    if isinstance(value, dict) and isinstance(value.get("payload"), dict):
        value = value["payload"]
    return value if isinstance(value, dict) else None


def _misplaced(flood: Flood, outcome: Outcome, places: dict[str, list[Place]]) -> Iterator[str]:
    promised = outcome.promised()
    for index, number in enumerate(outcome.numbers):
        name, where = flood.name(number), promised.get(index)
        if name in places and where not in places[name]:
            yield f"{name} is at {places[name]}, not at {where}"
        part = flood.part(number)
        if part is not None and where is not None and f"/part={part}/" not in where[0]:
            yield f"{name} is not in its partition {part}, but at {where}"
