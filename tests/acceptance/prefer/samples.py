"""Requests that wait for S3, and what became of them."""

import time
from dataclasses import dataclass
from typing import Any

from tests.support.s3 import FakeS3
from tests.support.service import Answer, Service


@dataclass(frozen=True, slots=True)
class Waiting:
    """A service, and its S3."""

    service: Service
    s3: FakeS3

    def post(self, stream: str, body: Any, prefer: str, path: str = "/payloads") -> Answer:
        """POST with preferences."""
        return self.service.post(f"{path}/{stream}", body, headers={"Prefer": prefer})

    def timed(self, stream: str, prefer: str) -> tuple[Answer, float]:
        """POST a payload; also return how many seconds the answer took."""
        started = time.monotonic()
        answer = self.post(stream, [{"n": 1}], prefer)
        return answer, time.monotonic() - started

    def lines(self, stream: str) -> list[bytes]:
        """Return the lines of a stream that are in the bucket now."""
        return [line for key, _, line in self.s3.lines() if key.startswith(f"{stream}/")]

    def objects(self, stream: str) -> int:
        """Count the objects of a stream that are in the bucket now."""
        return sum(key.startswith(f"{stream}/") for key in self.s3.objects())


def applied(answer: Answer) -> str | None:
    """Return what an answer says was done about preferences."""
    value = answer.headers["Preference-Applied"]
    return None if value is None else str(value)
