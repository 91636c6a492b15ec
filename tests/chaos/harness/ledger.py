"""A thread that holds `/stats` against what clients know, all through a chaos run."""

import contextlib
import http.client
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from tests.support.service import Service

WATCH_SECONDS = 0.1


class LedgerWatch:
    """Asks the services for their ledger ten times a second, and keeps what does not balance."""

    def __init__(self, services: Sequence[Service], acknowledged: Callable[[], int]) -> None:
        self.complaints: list[str] = []
        # Where the ledger is on another server, it may be away.
        self.may_be_away = False
        self.samples = 0
        self._services = services
        self._acknowledged = acknowledged
        self._last: dict[str, int] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(WATCH_SECONDS):
            for service in tuple(self._services):
                # Killed a moment ago, or not up yet: no answer is a fair answer.
                with contextlib.suppress(OSError, http.client.HTTPException):
                    self._ask(service)

    def _ask(self, service: Service) -> None:
        before = self._acknowledged()
        answer = service.get("/stats")
        if answer.status == http.client.OK:
            self.check(answer.json(), acknowledged=before)
        elif not (self.may_be_away and answer.status == http.client.SERVICE_UNAVAILABLE):
            self.complaints.append(f"ledger: {answer.status} {answer.body!r}")

    def check(self, stats: Mapping[str, Any], *, acknowledged: int) -> None:
        """Hold one answer against what clients knew before it, and against the answer before."""
        self.samples += 1
        accepted, stored = stats["accepted"], stats["stored"]
        balances = accepted == stored + stats["pending"] + stats["dead"]
        went_back = [name for name, value in self._last.items() if stats[name] < value]
        self._last = {"accepted": accepted, "stored": stored}
        if not balances or stats["pending"] < 0 or stats["dead"] or went_back:
            self.complaints.append(f"ledger: {stats}, went back: {went_back}")
        if accepted < acknowledged:
            self.complaints.append(f"ledger: {stats}, but {acknowledged} were acknowledged before")
