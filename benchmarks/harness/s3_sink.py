"""What stands in for S3, on loopback: nginx where it is installed, else the tests' fake S3.

nginx takes little CPU from what is measured. Knows HTTP and nothing of the contenders.
"""

import http.client
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, Self

from benchmarks import LOOPBACK
from tests.support import wait_until
from tests.support.processes import free_port
from tests.support.s3 import FakeS3

ETAG = "0" * 32
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
    # Real stores name the object that they made; the service checks that a PUT was answered so.
    add_header ETag '"{etag}"';
    location / {{ return 200; }}
    location = /count {{ stub_status; }}
  }}
}}
"""


class Sink(Protocol):
    """Takes objects. Entering the context starts a new server."""

    about: str
    # The settings that the service needs for it.
    settings: Mapping[str, str]

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def s3(self) -> FakeS3:
        """Its address, in the form that the service under test takes."""

    def puts(self) -> int:
        """Return how many PUTs came."""


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
        # Never started: it only holds the address.
        self._s3 = FakeS3(port=free_port())
        self._looks = 0
        config = self._workdir / "nginx.conf"
        config.write_text(NGINX_CONFIG.format(address=LOOPBACK, port=self._s3.port, etag=ETAG))
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
        """Its address."""
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


def find_sink(workdir: Path) -> Sink:
    """Return the best stand-in for S3 that is installed."""
    # Debian has it in /usr/sbin, which is not on everybody's path.
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    return Nginx(workdir, program=program) if program else HarnessS3()
