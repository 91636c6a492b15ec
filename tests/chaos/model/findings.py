"""What a trial and a row of trials found. Knows nothing of how they run."""

from dataclasses import dataclass
from typing import NamedTuple


class Place(NamedTuple):
    """A line of an object; the first line is 1."""

    key: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came of many trials, in payloads; `cuts` is power cuts, `faults` what else was wrong."""

    trials: int
    acknowledged: int
    lost: int
    stored_twice: int
    cuts: int
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is wrong after one trial: ids of payloads, and sentences. All empty when all is well."""

    lost: list[int]
    twice: list[int]
    faults: list[str]

    @property
    def clean(self) -> bool:
        """Whether the promise was kept."""
        return not (self.lost or self.twice or self.faults)
