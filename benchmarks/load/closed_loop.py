"""The closed loop: each of many connections sends as soon as it has its answer, all on loopback.

wrk where it is installed, since it takes little from what is measured; else the test harness's
flood, in Python, which does. Knows HTTP and nothing of the contenders.
"""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks import LOOPBACK
from benchmarks.load.bodies import make_bodies
from tests.support.flood import Flood, Plan

CONNECTIONS = 64
FLOOD_THREADS = 16
FLOOD_PAD_BYTES = 385
WRK_GRACE_SECONDS = 20.0
WRK_SCRIPT = """\
local requests, at = {}, 0
init = function(arguments)
  local streams, kind = tonumber(arguments[2]), {["Content-Type"] = "application/json"}
  for body in io.lines(arguments[1]) do
    local stream = streams > 1 and "/s" .. #requests % streams or ""
    requests[#requests + 1] = wrk.format("POST", wrk.path .. stream, kind, body)
  end
end
request = function()
  at = at % #requests + 1
  return requests[at]
end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '{"answers":%d,"refused":%d,"broken":%d,"seconds":%f,"p50":%f,"p99":%f}',
    summary.requests, e.status, e.connect + e.read + e.write + e.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is sent: payloads in each request, to so many streams in turn, for so many seconds.

    `bare` payloads are an array, without the object around it.
    """

    seconds: int
    payloads: int = 1
    bare: bool = False
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


class Wrk:
    """wrk: Debian's package of that name."""

    about = f"wrk, 1 thread, {CONNECTIONS} connections"

    def __init__(self, workdir: Path, *, program: str) -> None:
        self._program = program
        self._workdir = workdir
        self._script = workdir / "load.lua"
        self._script.write_text(WRK_SCRIPT)

    def run(self, port: int, demand: Demand) -> Loaded:
        """Run wrk once.

        Raises:
            subprocess.SubprocessError: it failed, or does not end.
        """
        bodies = self._workdir / f"bodies-{demand.payloads}{'-bare' if demand.bare else ''}"
        if not bodies.exists():
            made = make_bodies(demand.payloads, bare=demand.bare)
            bodies.write_text("".join(f"{body}\n" for body in made))
        options = ["-t1", f"-c{demand.connections}", f"-d{demand.seconds}s", "--timeout=10s"]
        url = f"http://{LOOPBACK}:{port}/payloads"
        script = ["-s", str(self._script), url, "--", str(bodies), str(demand.streams)]
        ran = subprocess.run(
            [self._program, *options, *script],
            check=True,
            capture_output=True,
            text=True,
            timeout=demand.seconds + WRK_GRACE_SECONDS,
        )
        seen = json.loads(ran.stdout[ran.stdout.rindex("{") :])
        return Loaded(
            seconds=seen["seconds"],
            accepted=seen["answers"] - seen["refused"],
            refused=seen["refused"],
            broken=seen["broken"],
            p50=seen["p50"],
            p99=seen["p99"],
        )


class HarnessFlood:
    """The test harness's flood: Python, so that it saturates long before the service does."""

    about = (
        f"the test harness's flood in Python, {FLOOD_THREADS} connections at most"
        " (wrk is missing: apt install wrk)"
    )

    def run(self, port: int, demand: Demand) -> Loaded:
        """Run a flood once."""
        plan = Plan(
            threads=min(FLOOD_THREADS, demand.connections),
            seconds=demand.seconds,
            payloads=demand.payloads,
            streams=[f"s{n}" for n in range(demand.streams)] if demand.streams > 1 else (),
            form="bare" if demand.bare else "envelope",
            pad_bytes=FLOOD_PAD_BYTES,
        )
        flood = Flood(port, plan).run()
        accepted = sum(n for status, n in flood.statuses.items() if 200 <= status < 300)
        return Loaded(
            seconds=demand.seconds,
            accepted=accepted,
            refused=sum(flood.statuses.values()) - accepted,
            broken=sum(outcome.status is None for outcome in flood.outcomes),
            p50=flood.latency(0.50) if flood.latencies else 0.0,
            p99=flood.latency(0.99) if flood.latencies else 0.0,
        )


def find_load(workdir: Path) -> Load:
    """Return the best sender that is installed."""
    program = shutil.which("wrk")
    return Wrk(workdir, program=program) if program else HarnessFlood()
