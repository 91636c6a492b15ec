"""The two ends of every run, all on loopback: who sends the payloads, and what stands for S3.

wrk and nginx where they are installed, since neither takes much from what is measured; else the
test harness's own, in Python, which do. Knows HTTP and nothing of the contenders.
"""

import http.client
import json
import random
import re
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from tests.harness import wait_until
from tests.harness.flood import Flood, Plan
from tests.harness.s3 import LOOPBACK, FakeS3
from tests.harness.service import free_port

# Bodies are sent in turn: with a single one, objects would compress to nearly nothing.
BODIES = 64
SEED = 430
FLOOD_THREADS = 16
FLOOD_PAD_BYTES = 385
WRK_GRACE_SECONDS = 20.0
AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/120.0 Safari/537.36"
)
WRK_SCRIPT = """\
local requests, at = {}, 0
init = function(arguments)
  for body in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, body)
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
NGINX_CONFIG = """\
daemon off;
pid nginx.pid;
error_log error.log;
worker_processes 1;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_max_body_size 0;
  keepalive_requests 100000000;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{
    listen {address}:{port} backlog=4096;
    location / {{ return 200; }}
    location = /count {{ stub_status; }}
  }}
}}
"""


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

    def run(self, port: int, *, payloads: int, seconds: int) -> Loaded:
        """Send so many payloads in each request; blocks for as many seconds, and a few more."""


class Sink(Protocol):
    """Takes objects. As a context manager it is a server, new each time."""

    about: str
    # What the service must be told about it.
    settings: Mapping[str, str]

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def s3(self) -> FakeS3:
        """Where it is, as the harness's services want to know it."""

    def puts(self) -> int:
        """Return how many PUTs came."""


class Wrk:
    """wrk: Debian's package of that name."""

    def __init__(self, workdir: Path, *, program: str, connections: int) -> None:
        self._program = program
        self.about = f"wrk, 1 thread, {connections} connections"
        self._connections = connections
        self._workdir = workdir
        self._script = workdir / "load.lua"
        self._script.write_text(WRK_SCRIPT)

    def run(self, port: int, *, payloads: int, seconds: int) -> Loaded:
        """Run wrk once.

        Raises:
            subprocess.SubprocessError: it failed, or does not end.
        """
        bodies = self._workdir / f"bodies-{payloads}"
        if not bodies.exists():
            bodies.write_text("".join(f"{body}\n" for body in make_bodies(payloads)))
        options = ["-t1", f"-c{self._connections}", f"-d{seconds}s", "--timeout=10s"]
        url = f"http://{LOOPBACK}:{port}/payloads"
        ran = subprocess.run(
            [self._program, *options, "-s", str(self._script), url, "--", str(bodies)],
            check=True,
            capture_output=True,
            text=True,
            timeout=seconds + WRK_GRACE_SECONDS,
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
        f"the test harness's flood in Python, {FLOOD_THREADS} connections"
        " (wrk is missing: apt install wrk)"
    )

    def run(self, port: int, *, payloads: int, seconds: int) -> Loaded:
        """Run a flood once."""
        plan = Plan(
            threads=FLOOD_THREADS, seconds=seconds, payloads=payloads, pad_bytes=FLOOD_PAD_BYTES
        )
        flood = Flood(port, plan).run()
        accepted = flood.statuses[202]
        return Loaded(
            seconds=seconds,
            accepted=accepted,
            refused=sum(flood.statuses.values()) - accepted,
            broken=sum(outcome.status is None for outcome in flood.outcomes),
            p50=flood.latency(0.50) if flood.latencies else 0.0,
            p99=flood.latency(0.99) if flood.latencies else 0.0,
        )


class Nginx:
    """nginx, of Debian's package nginx-light: answers 200 to every PUT and keeps nothing."""

    about = "nginx, answers 200 and keeps nothing"
    # It answers If-None-Match: * with 304, where S3 stores.
    settings: Mapping[str, str] = {"S3_CONDITIONAL_PUT": "off"}

    def __init__(self, workdir: Path, *, program: str) -> None:
        self._program = program
        self._workdir = workdir
        self._process: subprocess.Popen[bytes] | None = None
        self._looks = 0
        self._s3 = FakeS3()

    def __enter__(self) -> Self:
        # Never started: only the handle that says where a server is.
        self._s3 = FakeS3(port=free_port())
        self._looks = 0
        config = self._workdir / "nginx.conf"
        config.write_text(NGINX_CONFIG.format(address=LOOPBACK, port=self._s3.port))
        command = [self._program, "-p", str(self._workdir), "-e", "error.log", "-c", str(config)]
        self._process = subprocess.Popen(command, start_new_session=True)
        wait_until(self._answers, timeout=10, what="nginx")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    @property
    def s3(self) -> FakeS3:
        """Where it is."""
        return self._s3

    def puts(self) -> int:
        """Return the requests that came but for our own (ngx_http_stub_status_module)."""
        text = self._look()
        numbers = re.findall(r"^ \d+ \d+ (\d+)", text, re.MULTILINE)
        return int(numbers[0]) - self._looks

    def _answers(self) -> bool:
        try:
            return bool(self._look())
        except OSError:
            return False

    def _look(self) -> str:
        connection = http.client.HTTPConnection(LOOPBACK, self._s3.port, timeout=10)
        try:
            connection.request("GET", "/count")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        self._looks += 1
        return text


class HarnessS3:
    """The test harness's S3: Python, keeps every object in memory, takes CPU of its own."""

    about = "the test harness's S3 in Python (nginx is missing: apt install nginx-light)"
    settings: Mapping[str, str] = {}

    def __init__(self) -> None:
        self._s3 = FakeS3()

    def __enter__(self) -> Self:
        self._s3 = FakeS3()
        self._s3.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._s3.stop()

    @property
    def s3(self) -> FakeS3:
        """The server itself."""
        return self._s3

    def puts(self) -> int:
        """Return how many PUTs came."""
        return self._s3.counts().requests.get("PUT", 0)


def find_load(workdir: Path, *, connections: int) -> Load:
    """Return the best sender that is installed."""
    program = shutil.which("wrk")
    if program is None:
        return HarnessFlood()
    return Wrk(workdir, program=program, connections=connections)


def find_sink(workdir: Path) -> Sink:
    """Return the best stand-in for S3 that is installed."""
    # Debian has it in /usr/sbin, which is not on everybody's path.
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    return Nginx(workdir, program=program) if program else HarnessS3()


def make_bodies(payloads: int) -> list[str]:
    """Make requests of so many payloads of about 430 B, the same ones at every call."""
    rng = random.Random(SEED)
    return [
        json.dumps(
            {"payloads": [make_payload(rng) for _ in range(payloads)]}, separators=(",", ":")
        )
        for _ in range(BODIES)
    ]


def make_payload(rng: random.Random) -> dict[str, object]:
    """Make what an analytics client sends of a page view."""
    user = rng.randrange(100_000)
    return {
        "id": f"{rng.getrandbits(64):016x}",
        "type": rng.choice(["page_view", "page_exit", "add_to_cart"]),
        "ts": f"2026-11-23T10:{rng.randrange(60):02}:{rng.randrange(60):02}Z",
        "user": {"id": user, "name": "Ada Lovelace", "email": f"ada{user}@example.com"},
        "props": {
            "url": f"https://example.com/path/to/page?x={rng.randrange(1000)}",
            "ref": "https://search.example",
            "ua": AGENT,
            "w": rng.choice([1280, 1920, 2560]),
            "h": rng.choice([720, 1080, 1440]),
            "tags": rng.sample("abcdefgh", 3),
            "score": round(rng.random(), 5),
            "session": str(uuid.UUID(int=rng.getrandbits(128))),
        },
    }
