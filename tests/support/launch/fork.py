"""A script started in a fork of a process that has imported what it needs.

What this cannot show is the start of Python, and an import that fails: see `execute`.
"""

import atexit
import functools
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support import ROOT


class ForkServer:
    """The process that forks. It ends with this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.launch.server"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C is not for it.
            start_new_session=True,
        )
        atexit.register(self.stop)

    def ask(self, request: Mapping[str, object]) -> int:
        """Send a request, and block until it is answered."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def stop(self) -> None:
        """End it, and wait for its end."""
        self._process.communicate()


class Forked:
    """A process that the server has forked, and reaps when it is asked to."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self.pid = pid
        self._server = server
        self._code: int | None = None
        self._lock = threading.Lock()
        self._opened = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Return its exit code, or None while it lives; negative: the signal."""
        with self._lock:
            if self._code is None and select.select([self._opened], [], [], 0)[0]:
                self._code = self._server.ask({"ended": self.pid})
                os.close(self._opened)
            return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Block until it has ended, and return its exit code.

        Raises:
            subprocess.TimeoutExpired: it lives on after `timeout` seconds.
        """
        if self._code is None:
            select.select([self._opened], [], [], timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def send_signal(self, sig: int) -> None:
        """Send a signal; none if it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._opened, sig)


@functools.cache
def _server() -> ForkServer:
    return ForkServer()


def fork(command: Sequence[str], *, cwd: Path, environ: Mapping[str, str], log: Path) -> Forked:
    """Start `command` in a session of its own; see `Launch`. Blocks until that is there."""
    surroundings = {"cwd": str(cwd), "environ": {**environ}, "log": str(log)}
    return Forked(_server(), _server().ask({"command": [*command], **surroundings}))
