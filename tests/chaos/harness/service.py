"""The service as the chaos runs treat it: killed, upgraded in place, started with other settings.

Knows it by its signals and its settings.
"""

import contextlib
import os
import random
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from tests.support import wait_until
from tests.support.processes import await_end
from tests.support.service import Service

STOP_SECONDS = 30.0


class UpgradableService(Service):
    """A service that SIGUSR2 can replace while it runs."""

    master = 0

    def start(self) -> None:
        """Start the processes; does not wait for them.

        Raises:
            RuntimeError: they run already.
        """
        super().start()
        self.master = self.pid

    def restart(self) -> None:
        """Start (again), and wait until ready."""
        self.start()
        self.wait_ready()

    def kill_one(self, rng: random.Random) -> None:
        """SIGKILL one process that is not the master; blocks until there is one, and it is gone."""
        wait_until(lambda: bool(self.children()), timeout=STOP_SECONDS, what="a process to kill")
        self.kill_random_child(rng)

    def kill_and_start(self) -> None:
        """SIGKILL every process, and start; does not wait until ready."""
        self.kill_group()
        self.start()

    def change(self, settings: Mapping[str, object]) -> None:
        """SIGTERM; when every process has ended, start again with these settings changed."""
        self.signal_master(signal.SIGTERM)
        for pid in self.processes():
            await_end(pid, STOP_SECONDS)
        self.settings.update({name: str(value) for name, value in settings.items()})
        self.restart()

    def signal_master(self, number: signal.Signals) -> None:
        """Send a signal to whichever process is the master now."""
        os.kill(self.master, number)

    def upgrade(self, side_by_side_seconds: float) -> None:
        """SIGUSR2: a new master and its processes; then SIGTERM to the old. Blocks until it ended.

        See https://docs.gunicorn.org/en/stable/signals.html, "Upgrading to a new binary on the fly"
        """
        promoted = self._promoted()
        self.signal_master(signal.SIGUSR2)
        wait_until(lambda: bool(self._heirs()), timeout=STOP_SECONDS, what="the new master")
        heir = self._heirs()[0]
        time.sleep(side_by_side_seconds)
        self.signal_master(signal.SIGTERM)
        await_end(self.master, STOP_SECONDS)
        self.master = heir
        # Until it knows that the old one is gone it would take no other SIGUSR2.
        what = "the new master to take over"
        wait_until(lambda: self._promoted() > promoted, timeout=STOP_SECONDS, what=what)

    def _promoted(self) -> int:
        return self.log_path.read_text(errors="replace").count("Master has been promoted")

    def _heirs(self) -> list[int]:
        """Return the children of the master that have as many children as a master has."""
        parents = [parent_of(pid) for pid in self.children()]
        wanted = int(self.settings["WEB_CONCURRENCY"])
        return [
            pid
            for pid in self.children()
            if parent_of(pid) == self.master and parents.count(pid) >= wanted
        ]


def parent_of(pid: int) -> int:
    """Read a process's parent from /proc/<pid>/stat (proc(5)); 0 if it is gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0
