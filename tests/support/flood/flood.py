"""A bounded load of uniquely numbered payloads, which remembers what became of every one of them.

Knows the HTTP contract and nothing of the service.
"""

import gzip
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal, Self

from tests.support.flood.connection import Connection
from tests.support.outcomes import NO_RETRY_AFTER, NOT_CONFIRMED, Outcome, read_answer

# Long enough to spare the processors while no server listens, too short to matter.
RECONNECT_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a flood sends, and for how long: `requests`, `seconds` or a stop, whichever is first."""

    threads: int = 4
    requests: int | None = None
    seconds: float = 60.0
    # So many in each request, or a random number within these bounds.
    payloads: int | tuple[int, int] = 1
    # Requests go to these in turn; without any to /payloads.
    streams: Sequence[str] = ()
    form: Literal["envelope", "bare", "ndjson"] = "envelope"
    gzip: bool = False
    pad_bytes: int = 100
    # If set, payloads have a member `part` of so many values in turn.
    parts: int = 0
    # If set, so many payloads in turn are padded with noise, and with one letter only.
    shift_every: int = 0
    # Each thread rests so long after each request, and so long after one that is refused.
    pause_seconds: float = 0.0
    refused_pause_seconds: float = 0.0
    timeout_seconds: float = 30.0
    headers: Mapping[str, str] = field(default_factory=dict)
    prefix: str = field(default_factory=lambda: uuid.uuid4().hex[:12])


class Flood:
    """Sends payloads `{"id": "<prefix>-<n>", "n": n, "pad": "…"}` to a loopback port, once each.

    A connection that cannot be made costs nothing: its request is made later. As a context manager
    it starts, then stops and joins. What it has seen can be read while it runs.
    """

    def __init__(self, port: int, plan: Plan | None = None) -> None:
        self.port = port
        self.plan = plan or Plan()
        self.outcomes: list[Outcome] = []
        self.statuses: Counter[int] = Counter()
        self.latencies: list[float] = []
        self.retry_after_missing = 0
        self.malformed: list[str] = []
        self.connect_errors = 0
        self._payloads: Counter[str] = Counter()
        self._requests = self._next = 0
        self._deadline = 0.0
        self._random = random.Random(self.plan.prefix)
        self._noise = self._random.randbytes(self.plan.pad_bytes // 2 + 256).hex()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._clients: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.join()

    def count(self, verdict: str) -> int:
        """Return how many payloads were `acked`, `refused` or are `unknown` so far."""
        return self._payloads[verdict]

    def run(self) -> Self:
        """Start, and block until the plan is carried out."""
        self.start()
        self.join()
        return self

    def start(self) -> None:
        """Begin, in the background.

        Raises:
            RuntimeError: it has begun before.
        """
        if self._clients:
            raise RuntimeError("a flood runs once")
        self._deadline = time.monotonic() + self.plan.seconds
        for number in range(self.plan.threads):
            client = threading.Thread(target=self._run, name=f"flood-{number}", daemon=True)
            self._clients.append(client)
            client.start()

    def stop(self) -> None:
        """Send no more; requests on their way go on. Does not block."""
        self._stopping.set()

    def join(self, timeout: float | None = None) -> None:
        """Block until every request has its outcome.

        Raises:
            AssertionError: some have none after `timeout` seconds (by default, all they may take).
        """
        if timeout is None:
            # A request may wait for its answer's head, and then again for its body.
            left = max(0.0, self._deadline - time.monotonic())
            timeout = left + 3 * self.plan.timeout_seconds
        deadline = time.monotonic() + timeout
        for client in self._clients:
            client.join(max(0.0, deadline - time.monotonic()))
        if any(client.is_alive() for client in self._clients):
            raise AssertionError(f"the flood still runs after {timeout:g} s")

    def wait_for(
        self,
        verdict: Literal["acked", "refused", "unknown"],
        payloads: int,
        *,
        timeout: float = 50.0,
    ) -> None:
        """Block until so many payloads have met this end.

        Raises:
            AssertionError: they had not within `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._payloads[verdict] >= payloads, timeout):
                raise AssertionError(f"waited {timeout:g} s for {payloads} {verdict}; {self}")

    def __str__(self) -> str:
        return f"payloads {dict(self._payloads)}, statuses {dict(self.statuses)}"

    @property
    def acked(self) -> set[str]:
        """The ids that were answered 202."""
        return self._ids("acked")

    @property
    def refused(self) -> set[str]:
        """The ids that were answered anything else."""
        return self._ids("refused")

    @property
    def unknown(self) -> set[str]:
        """The ids whose connection broke before an answer."""
        return self._ids("unknown")

    def latency(self, quantile: float) -> float:
        """Return the seconds within which this part (0 to 1) of all answers came."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]

    def name(self, number: int) -> str:
        """Return a payload's id."""
        return f"{self.plan.prefix}-{number}"

    def payload(self, number: int) -> bytes:
        """Return a payload's bytes, the same at every call."""
        at = number % 512
        pad = self._noise[at : at + self.plan.pad_bytes]
        if self.plan.shift_every and (number // self.plan.shift_every) % 2 == 0:
            pad = "a" * self.plan.pad_bytes
        part = "" if self.part(number) is None else f'"part":"{self.part(number)}",'
        return f'{{"id":"{self.name(number)}","n":{number},{part}"pad":"{pad}"}}'.encode()

    def part(self, number: int) -> str | None:
        """Return which partition a payload belongs to, if the plan has any."""
        return f"p{number % self.plan.parts}" if self.plan.parts else None

    def _ids(self, verdict: str) -> set[str]:
        outcomes = [outcome for outcome in self.outcomes if outcome.verdict == verdict]
        return {self.name(number) for outcome in outcomes for number in outcome.numbers}

    def _run(self) -> None:
        with closing(Connection(self.port, self.plan.timeout_seconds)) as connection:
            for index, numbers in self._batches(connection):
                outcome, seconds, faults = self._exchange(connection, index, numbers)
                self._note(outcome, seconds, faults)
                if pause := self._pause(outcome):
                    self._stopping.wait(pause)

    def _pause(self, outcome: Outcome) -> float:
        is_refused = outcome.verdict == "refused"
        return self.plan.refused_pause_seconds if is_refused else self.plan.pause_seconds

    def _batches(self, connection: Connection) -> Iterator[tuple[int, range]]:
        """Yield a request's index and numbers whenever there is one, and a way to send it."""
        while not self._stopping.is_set() and time.monotonic() < self._deadline:
            if not self._connected(connection):
                self._stopping.wait(RECONNECT_SECONDS)
                continue
            with self._changed:
                if self._requests == self.plan.requests:
                    return
                index, first = self._requests, self._next
                bounds = self.plan.payloads
                count = bounds if isinstance(bounds, int) else self._random.randint(*bounds)
                self._requests, self._next = index + 1, first + count
            yield index, range(first, first + count)

    def _connected(self, connection: Connection) -> bool:
        try:
            connection.open()
        except OSError:
            with self._changed:
                self.connect_errors += 1
            return False
        return True

    def _exchange(
        self, connection: Connection, index: int, numbers: range
    ) -> tuple[Outcome, float, list[str]]:
        """Send a request; return its outcome, the seconds it took and what is wrong with it."""
        path, body, headers = self._request(index, numbers)
        first, count = numbers.start, len(numbers)
        started = time.monotonic()
        try:
            answer = connection.post(path, body, headers)
        except OSError:
            return Outcome(first, count, None), time.monotonic() - started, []
        receipts, faults = read_answer(answer, count)
        status = None if NOT_CONFIRMED in answer.body else answer.status
        return Outcome(first, count, status, receipts), time.monotonic() - started, faults

    def _request(self, index: int, numbers: range) -> tuple[str, bytes, dict[str, str]]:
        plan = self.plan
        payloads = [self.payload(number) for number in numbers]
        headers = {"Content-Type": "application/json", **plan.headers}
        if plan.form == "ndjson":
            body = b"".join(payload + b"\n" for payload in payloads)
            headers["Content-Type"] = "application/x-ndjson"
        else:
            body = b"[" + b",".join(payloads) + b"]"
        if plan.form == "envelope":
            body = b'{"version":"1","token":"flood","payloads":' + body + b"}"
        if plan.gzip:
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        stream = f"/{plan.streams[index % len(plan.streams)]}" if plan.streams else ""
        return f"/payloads{stream}", body, headers

    def _note(self, outcome: Outcome, seconds: float, faults: list[str]) -> None:
        with self._changed:
            self.outcomes.append(outcome)
            self._payloads[outcome.verdict] += outcome.count
            if outcome.status is not None:
                self.statuses[outcome.status] += 1
                self.latencies.append(seconds)
            self.retry_after_missing += NO_RETRY_AFTER in faults
            self.malformed += faults
            self._changed.notify_all()
