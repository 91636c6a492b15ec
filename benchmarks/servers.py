"""How contenders are started: gunicorn as it is, plain Granian, Go's original, Fluent Bit.

All as the test harness starts the service: a session of their own, a clean environment, a log.
"""

import contextlib
import http.client
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.s3 import LOOPBACK, ROOT, FakeS3
from tests.support.service import Service, free_port

ORIGINAL = ROOT / "benchmarks" / "original"
# Where Debian's golang-*-dev packages put their sources.
GOPATH = Path("/usr/share/gocode")
AWS_SDK = GOPATH / "src" / "github.com" / "aws" / "aws-sdk-go"
BUILD_SECONDS = 300
GRANIAN_THREADS = 4
FLUENT_BIT = "fluent-bit"
# An object of as many lines as one of ours at its default size: gzip makes them six times smaller.
FLUENT_BIT_OBJECT = "48M"
# Its monitor learns the figures this often.
FLUENT_BIT_MONITOR_SECONDS = 1.2


class CommandService(Service):
    """A server started by a command of its own. It answers /readyz with 200 when it is ready."""

    def __init__(
        self,
        workdir: Path,
        s3: FakeS3,
        *,
        settings: Mapping[str, str],
        command: Callable[[int], Sequence[str]],
    ) -> None:
        super().__init__(workdir, s3, settings=settings)
        self._command = command

    def command(self) -> Sequence[str]:
        """Return what is executed, and its arguments."""
        return self._command(self.port)


class FluentBit(Service):
    """Fluent Bit from HTTP to S3, gzip, buffered in memory, and else as it comes.

    It takes an array of payloads for as many records. Its ledger is that of its monitor, less what
    still waits in the files that its S3 output gathers an object in.
    """

    def __init__(self, workdir: Path, s3: FakeS3, *, settings: Mapping[str, str]) -> None:
        super().__init__(workdir, s3, settings=settings)
        self._monitor = free_port()
        self._store = workdir / "store"

    def command(self) -> Sequence[str]:
        """Return what is executed, and its arguments."""
        taken = {"listen": LOOPBACK, "port": self.port}
        given = {
            "match": "*",
            "bucket": self._s3.bucket,
            "endpoint": self._s3.endpoint,
            "region": "us-east-1",
            "use_put_object": "on",
            "compression": "gzip",
            "total_file_size": FLUENT_BIT_OBJECT,
            "upload_timeout": "1s",
            "store_dir": self._store,
        }
        monitor = ["-H", "-L", LOOPBACK, "-P", str(self._monitor)]
        return [
            *(FLUENT_BIT, "-q", *monitor),
            *("-i", "http", *_properties(taken)),
            *("-o", "s3", *_properties(given)),
        ]

    def stats(self) -> dict[str, Any]:
        """Return `accepted` and `stored` records; blocks until its monitor has had time for them.

        Raises:
            OSError, http.client.HTTPException: its monitor does not answer, or has no figures yet.
        """
        time.sleep(FLUENT_BIT_MONITOR_SECONDS)
        answer = self.get("/api/v1/metrics", port=self._monitor)
        if answer.body in {b"", b"{}"}:
            raise ConnectionError("no figures yet")
        seen = answer.json()
        accepted = sum(one["records"] for one in seen["input"].values())
        gathered = sum(one["proc_records"] for one in seen["output"].values())
        return {"accepted": accepted, "stored": gathered - self._waiting()}

    def _waiting(self) -> int:
        """Estimate the lines in its files by their sizes and the length of a first line."""
        lines = 0
        for path in self._store.glob("*/*T*/*"):
            # It deletes a file once that is an object.
            with contextlib.suppress(OSError), path.open("rb") as file:
                first = len(file.readline())
                lines += path.stat().st_size // first if first else 0
        return lines

    def _ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.stats()
            return self.get("/").status > 0
        return False


def _properties(named: Mapping[str, object]) -> list[str]:
    return [word for name, value in named.items() for word in ("-p", f"{name}={value}")]


def granian(port: int) -> Sequence[str]:
    """Return the command that serves the application under Granian, without gunicorn."""
    cores = len(os.sched_getaffinity(0))
    return [
        *(sys.executable, "-m", "granian", "--interface", "wsgi", "--http", "1", "--no-ws"),
        *("--workers", str(cores), "--blocking-threads", str(GRANIAN_THREADS)),
        *("--host", LOOPBACK, "--port", str(port), "wsgi:app"),
    ]


def lacking(server: str) -> str | None:
    """Say in a line what is missing to start a kind of server; None if nothing is."""
    if server == "original":
        missing = [
            *([] if shutil.which("go") else ["the go command"]),
            *([] if AWS_SDK.is_dir() else [f"AWS's SDK in {AWS_SDK}"]),
        ]
        packages = "golang-go golang-github-aws-aws-sdk-go-dev"
        return f"without {' and '.join(missing)}: apt install {packages}" if missing else None
    if server == "fluent-bit" and not shutil.which(FLUENT_BIT):
        return f"no {FLUENT_BIT} on the PATH: https://docs.fluentbit.io/manual/installation"
    return None


def build_original(directory: Path) -> Path:
    """Build the original in Go, offline, unless it is there already; return the program.

    Blocks for a minute the first time.

    Raises:
        subprocess.SubprocessError: Go would not.
    """
    program, source = directory / "original", ORIGINAL / "main.go"
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    go = {"GO111MODULE": "off", "GOPATH": str(GOPATH), "GOCACHE": str(directory / "go-cache")}
    subprocess.run(
        [shutil.which("go") or "go", "build", "-o", str(program), "."],
        cwd=ORIGINAL,
        env={"PATH": os.environ["PATH"], "HOME": str(directory), **go},
        check=True,
        timeout=BUILD_SECONDS,
    )
    return program
