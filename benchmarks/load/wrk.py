"""wrk (Debian's package of that name) as the closed loop."""

import json
import subprocess
from pathlib import Path

from benchmarks import LOOPBACK
from benchmarks.load.bodies import make_requests
from benchmarks.load.closed_loop import CONNECTIONS, Demand, Loaded

GRACE_SECONDS = 20.0
# Whole requests, each after a line with its length in bytes.
SCRIPT = """\
local requests, at = {}, 0
init = function(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  local length = file:read("*l")
  while length do
    requests[#requests + 1] = file:read(tonumber(length))
    length = file:read("*l")
  end
  file:close()
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


class Wrk:
    """Runs wrk with requests from a file."""

    about = f"wrk, 1 thread, {CONNECTIONS} connections; fewer for large bodies"

    def __init__(self, workdir: Path, *, program: str) -> None:
        self._program = program
        self._workdir = workdir
        self._script = workdir / "load.lua"
        self._script.write_text(SCRIPT)

    def run(self, port: int, demand: Demand) -> Loaded:
        """Run wrk once.

        Raises:
            subprocess.SubprocessError: it failed, or does not end.
        """
        options = ["-t1", f"-c{demand.connections}", f"-d{demand.seconds}s", "--timeout=10s"]
        url = f"http://{LOOPBACK}:{port}/payloads"
        script = ["-s", str(self._script), url, "--", str(self._requests(demand))]
        ran = subprocess.run(
            [self._program, *options, *script],
            check=True,
            capture_output=True,
            text=True,
            timeout=demand.seconds + GRACE_SECONDS,
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

    def _requests(self, demand: Demand) -> Path:
        """Return a file of such requests, made at the first call."""
        body = demand.body
        kind = f"{body.payloads}-{body.bare:d}-{body.coding}-{body.chunked:d}-{demand.streams}"
        path = self._workdir / f"requests-{kind}"
        if not path.exists():
            with path.open("wb") as file:
                for request in make_requests(body, streams=demand.streams):
                    file.write(b"%d\n%b" % (len(request), request))
        return path
