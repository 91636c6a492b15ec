"""A flood whose clients send a key with each request, and again until it is answered."""

import random
import time
from collections import Counter
from http.client import ACCEPTED
from typing import Any

from tests.support.flood import RECONNECT_SECONDS, Connection, Flood
from tests.support.outcomes import Outcome, read_answer

# What a client sends again after, unchanged.
AGAIN = frozenset({408, 409, 503})
AGAIN_SECONDS = 0.05
# How long a key may be without an answer.
PATIENCE_SECONDS = 60.0
# Every so many answered requests one is sent again all the same.
REPEAT_EVERY = 7


class KeyedFlood(Flood):
    """Each payload is to be stored once, and each key to have one answer.

    `answers` has the answer of each request, by its number; `disagreeing` those that were given
    two. `repeats` counts the answers that said that they are one again.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.answers: dict[int, bytes] = {}
        self.disagreeing: list[int] = []
        self.unanswered: list[int] = []
        self.repeats = 0
        self.said: Counter[int | None] = Counter()

    def _exchange(
        self, connection: Connection, index: int, numbers: range
    ) -> tuple[Outcome, float, list[str]]:
        started = time.monotonic()
        first, count = numbers.start, len(numbers)
        outcome, faults = Outcome(first, count, None), list[str]()
        while time.monotonic() - started < PATIENCE_SECONDS:
            outcome, faults = self._attempt(connection, index, numbers)
            if outcome.status is not None and outcome.status not in AGAIN:
                break
            time.sleep(AGAIN_SECONDS if outcome.status else RECONNECT_SECONDS)
        else:
            self.unanswered.append(index)
        if outcome.status == ACCEPTED and index % REPEAT_EVERY == 0:
            self._attempt(connection, index, numbers)
        return outcome, time.monotonic() - started, faults

    def _attempt(
        self, connection: Connection, index: int, numbers: range
    ) -> tuple[Outcome, list[str]]:
        path, body, headers = self._request(index, numbers)
        headers["Idempotency-Key"] = f"{self.plan.prefix}-{index}"
        first, count = numbers.start, len(numbers)
        try:
            answer = connection.post(path, body, headers)
        except OSError:
            self.said[None] += 1
            return Outcome(first, count, None), []
        self.said[answer.status] += 1
        receipts, faults = read_answer(answer, count)
        if answer.status == ACCEPTED:
            self.repeats += answer.headers.get("idempotent-replayed") == "true"
            if self.answers.setdefault(index, answer.body) != answer.body:
                self.disagreeing.append(index)
        return Outcome(first, count, answer.status, receipts), faults


class RoamingFlood(KeyedFlood):
    """Its clients send a request that was not answered to any of some machines, by their ports."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ports = [self.port]

    def _attempt(
        self, connection: Connection, index: int, numbers: range
    ) -> tuple[Outcome, list[str]]:
        outcome, faults = super()._attempt(connection, index, numbers)
        # The next attempt, or the next request.
        connection.close()
        connection.port = random.choice(self.ports)
        return outcome, faults
