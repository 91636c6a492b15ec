"""Keys that are known already, for POSTs to `/payloads` that need nothing but their key counted.

Clients send the same key to the same path again and again: what the rules say of the two is looked
up once. Knows no server and no pipeline.
"""

from dataclasses import dataclass
from typing import Final

from app.access.cors import Headers
from app.access.credentials import MAX_CREDENTIAL, check
from app.access.gate import Gate
from app.access.rules import WRITE, Key, Rules
from app.access.usage_files import UsageFiles
from app.http.problems import Problem
from app.http.responses import Answer
from app.ingest.ways import RequestHead, Way

# Paths are the clients'.
MAX_KNOWN: Final = 4096


@dataclass(frozen=True, slots=True)
class KnownKey:
    """What is left to do for each request of a key to a stream: as `Arrival`, and shared by all."""

    gate: Gate
    # The gate's, of this process.
    usage: UsageFiles
    key: Key
    stream: str

    def begin(self) -> Problem | None:
        """Before the body is read: return the response instead if the request may not go on.

        A key may have expired since it became known, or be at its limit.
        """
        key = self.key
        try:
            if key.expires is not None:
                check(key, action=WRITE, stream=self.stream)
            if key.requests_per_second is not None:
                self.gate.count(key)
        except Problem as problem:
            self.gate.count_refusal(key, problem.status)
            return problem.without_frames()
        return None

    def body_arrived(self, size: int) -> None:
        """Count the bytes of the body, as they were sent; those of a refused one too."""
        if self.key.requests_per_second is None:
            self.usage.count_request(self.key.name, size)
        else:
            self.gate.charge(self.key, size, expected=size)

    def accepted(self, answer: Answer) -> Answer:
        """Return the response to payloads that are durable."""
        return answer

    def finish(self, status: int) -> Headers:
        """Count a refusal of the key; pages of other origins are not let in here."""
        if status >= 400:
            self.gate.count_refusal(self.key, status)
        return []


class KnownKeys:
    """Keys by path and `Authorization` header, for the rules in force. Thread-safe."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        # Of other rules nothing is known.
        self._known: tuple[Rules, dict[tuple[str, str], KnownKey]] = (gate.rules, {})

    def find(self, path: str, head: RequestHead) -> KnownKey | None:
        """Return the key of a POST to `path`, if it was admitted there before. Does not block."""
        rules, known = self._known
        authorization = head.header("authorization")
        if authorization is None or rules is not self._gate.rules:
            return None
        found = known.get((path, authorization))
        # A page may send only what `Arrival` looks into.
        return found if found is None or head.header("origin") is None else None

    def remember(self, path: str, head: RequestHead, *, way: Way, key: Key, rules: Rules) -> None:
        """Take note that a request's key was admitted, if others like it need no closer look."""
        authorization = head.header("authorization")
        if authorization is None or not _is_simple(way, key, rules):
            return
        if self._known[0] is not rules:
            self._known = (rules, {})
        known = self._known[1]
        if len(known) < MAX_KNOWN and len(authorization) <= MAX_CREDENTIAL:
            known[path, authorization] = KnownKey(self._gate, self._gate.usage, key, way.stream)


def _is_simple(way: Way, key: Key, rules: Rules) -> bool:
    """Whether no reader of its own, no header for a page and no limit of bytes is called for."""
    has_reader = way.is_events or way.webhook is not None or way.endpoint is not None
    has_cors = rules.cors is not None and way.stream in rules.cors.streams
    return not has_reader and not has_cors and key.bytes_per_second is None
