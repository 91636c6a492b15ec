"""Ways to start a script of Python as a process of its own. Knows no service.

`execute` does what a shell does. `fork` has the same script run in a fork of a process that has
imported what it needs, which is most of what a start costs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol


class Launched(Protocol):
    """A process, with so much of `subprocess.Popen` as a test needs."""

    @property
    def pid(self) -> int:
        """Return its number, which is also that of its session."""

    def poll(self) -> int | None:
        """Return its exit code, or None while it lives; negative: the signal."""

    def wait(self, timeout: float | None = None) -> int:
        """Block until it has ended, and return its exit code.

        Raises:
            subprocess.TimeoutExpired: it lives on after `timeout` seconds.
        """

    def send_signal(self, sig: int) -> None:
        """Send a signal; none if it has ended."""


class Launch(Protocol):
    """A way to start a script."""

    def __call__(
        self, command: Sequence[str], *, cwd: Path, environ: Mapping[str, str], log: Path
    ) -> Launched:
        """Start `command`, a script and its arguments, in a session of its own.

        Its standard output and error go to the end of `log`. Does not wait for it.
        """
