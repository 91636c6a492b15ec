"""How contenders are started: gunicorn as it is, plain Granian, Go's original, Fluent Bit.

All as the test harness starts the service: a session of their own, a clean environment, a log.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import LOOPBACK, ROOT
from benchmarks.harness import fluent_bit
from tests.support.redis.server import program_of
from tests.support.s3 import FakeS3
from tests.support.service import Service

ORIGINAL = ROOT / "benchmarks" / "original"
# Where Debian's golang-*-dev packages put their sources.
GOPATH = Path("/usr/share/gocode")
AWS_SDK = GOPATH / "src" / "github.com" / "aws" / "aws-sdk-go"
BUILD_SECONDS = 300
GRANIAN_THREADS = 4


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


def granian(port: int) -> Sequence[str]:
    """Return the command that serves the application under Granian, without gunicorn."""
    cores = len(os.sched_getaffinity(0))
    return [
        *(sys.executable, "-m", "granian", "--interface", "wsgi", "--http", "1", "--no-ws"),
        *("--workers", str(cores), "--blocking-threads", str(GRANIAN_THREADS)),
        *("--host", LOOPBACK, "--port", str(port), "wsgi:app"),
    ]


def lacking(server: str) -> str | None:
    """Return what is missing to start a kind of server, in a line; None if nothing is."""
    if server == "original":
        missing = [
            *([] if shutil.which("go") else ["the go command"]),
            *([] if AWS_SDK.is_dir() else [f"AWS's SDK in {AWS_SDK}"]),
        ]
        packages = "golang-go golang-github-aws-aws-sdk-go-dev"
        return f"without {' and '.join(missing)}: apt install {packages}" if missing else None
    if server in {"queue", "roles"} and program_of() is None:
        return "no redis-server: `make test-tools` installs one"
    if server == "fluent-bit" and not shutil.which(fluent_bit.PROGRAM):
        return f"no {fluent_bit.PROGRAM} on the PATH: https://docs.fluentbit.io/manual/installation"
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
