"""A script started in a fork of a process that has imported the packages that it needs.

Only those of others: what a process of ours imports it imports itself, as after any start. What
this cannot show is the start of Python, and its end: see `execute`.
"""

import multiprocessing
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.support.launch.script import run

# Not gunicorn: it looks at the current directory as it is imported.
PACKAGES = (
    *("flask", "granian", "marshmallow", "apispec.ext.marshmallow", "prometheus_client"),
    *("boto3.s3.inject", "redis", "msgspec", "isal.igzip", "zstandard"),
)
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(list(PACKAGES))


class Forked:
    """A process that the server has forked."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        self.pid = process.pid or 0

    def poll(self) -> int | None:
        """Return its exit code, or None while it lives; negative: the signal."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Block until it has ended, and return its exit code.

        Raises:
            subprocess.TimeoutExpired: it lives on after `timeout` seconds.
        """
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return code

    def send_signal(self, sig: int) -> None:
        """Send a signal; none if it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.Signals(sig))


def fork(command: Sequence[str], *, cwd: Path, environ: Mapping[str, str], log: Path) -> Forked:
    """Start `command` in a session of its own; see `Launch`. Blocks until that is there."""
    reader, writer = SERVER.Pipe(duplex=False)
    process = SERVER.Process(
        target=run,
        args=(writer, [*command]),
        kwargs={"cwd": str(cwd), "environ": {**environ}, "log": str(log)},
        # It would be waited for at the end of this process.
        daemon=True,
    )
    process.start()
    writer.close()
    with reader, suppress(EOFError):
        reader.recv()
    return Forked(process)
