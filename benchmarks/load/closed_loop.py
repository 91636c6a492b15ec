"""The closed loop: each of many connections sends as soon as it has its answer.

wrk where it is installed, since it takes little CPU from what is measured; else a loop in Python.
"""

from dataclasses import dataclass
from typing import Protocol

from benchmarks.load.bodies import SINGLE, Body

CONNECTIONS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is sent: such bodies, to so many streams in turn, for so many seconds."""

    seconds: int
    body: Body = SINGLE
    connections: int = CONNECTIONS
    streams: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What the sender saw. Latencies, in seconds, are of all answers, refusals too."""

    seconds: float
    accepted: int
    refused: int
    broken: int
    p50: float
    p99: float


class Load(Protocol):
    """Sends requests over kept-alive connections, each as soon as the one before is answered."""

    about: str

    def run(self, port: int, demand: Demand) -> Loaded:
        """Send what is demanded; blocks for as many seconds, and a few more."""
