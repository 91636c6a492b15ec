"""`/healthz` and `/readyz`: the same answers under the engine, which gives them at once, and Flask.

Neither waits for anything: no thread, no disk, no other request.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from app.http.problems import Unavailable
from app.http.responses import JSON, Answer
from workers.pipeline import Pipeline

HEALTH: Final = "/healthz"
READINESS: Final = "/readyz"
METHODS: Final = frozenset({"GET", "HEAD"})
_encode: Final = msgspec.json.Encoder().encode


class Probes:
    """Answers probes. Thread-safe."""

    def __init__(self, pipeline: Callable[[], Pipeline]) -> None:
        self._pipeline = pipeline
        self.paths: dict[str, Callable[[], Answer]] = {
            HEALTH: self.health,
            READINESS: self.readiness,
        }

    def health(self) -> Answer:
        """Say that the process is alive."""
        return Answer(200, [JSON], b'{"status":"alive"}\n')

    def readiness(self) -> Answer:
        """Say whether this process would accept a collection now.

        Raises:
            Unavailable: it would not; with the reason.
        """
        pipeline = self._pipeline()
        refusal = pipeline.refusal()
        if refusal:
            raise Unavailable(f"Not ready: {refusal}.", retry_after=pipeline.retry_after())
        if doubt := pipeline.doubt():
            return Answer(200, [JSON], _encode({"status": "ready", "doubt": doubt}) + b"\n")
        return Answer(200, [JSON], b'{"status":"ready"}\n')
