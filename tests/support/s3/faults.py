"""Faults on demand: which requests they hit, and what is counted of them."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.support.s3.messages import Request

Kind = Literal[
    "error", "hang", "reset", "slow", "late_answer", "lose_answer", "half", "close_early", "portal"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What to do to the requests it matches. Of several rules the first that strikes is the one.

    error        read all, answer `status` with `code`; store nothing
    hang         read all, then nothing, until the rules are replaced (goes on as if never held up)
                 or the client leaves (nothing is stored)
    slow         the same for at most `seconds`, and it goes on even if the client left: a late PUT
    reset        RST in the middle of the body; store nothing
    close_early  read all, close without an answer; store nothing
    lose_answer  do all that was asked, then RST instead of an answer
    late_answer  do all that was asked, and answer after `seconds`, or when the rules are replaced
    portal       read all, answer 200 with a page to log in; store nothing
    half         store only the first `keep` of the body (0 to 1), then RST: an evil store
    """

    kind: Kind
    probability: float = 1.0
    times: int | None = None
    methods: Sequence[str] = ("PUT",)
    key_contains: str = ""
    status: int = 503
    code: str = "SlowDown"
    seconds: float = 1.0
    keep: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What the server has seen since it started."""

    requests: Mapping[str, int]
    faults: Mapping[str, int]
    stored: int
    half_bodies_refused: int


class Faults:
    """The rules in force. Chance is drawn from a seed, so that a run can be had again."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.hits: Counter[str] = Counter()
        self.replaced = asyncio.Event()
        self._chance = random.Random(seed)
        self._rules: list[Fault] = []
        self._left: list[float] = []

    def replace(self, rules: Sequence[Fault]) -> None:
        """Put new rules in force and let go of what the old ones hold."""
        self.replaced.set()
        self.replaced = asyncio.Event()
        self._rules = list(rules)
        self._left = [float("inf") if rule.times is None else rule.times for rule in rules]

    def strike(self, request: Request) -> Fault | None:
        """Return the rule that strikes this request, and count it."""
        for index, rule in enumerate(self._rules):
            matches = request.method in rule.methods and rule.key_contains in request.key
            if matches and self._left[index] > 0 and self._chance.random() < rule.probability:
                self._left[index] -= 1
                self.hits[rule.kind] += 1
                return rule
        return None
