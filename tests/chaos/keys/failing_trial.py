"""Trials in which syncs fail often, and the kernel forgets what it could not write."""

from typing import Any

from tests.chaos.keys.keyed_trial import KeyedTrial
from tests.chaos.model.process import Process

FAILURE_SHARE, RECOVERY_SHARE = 0.4, 0.5


class FailingTrial(KeyedTrial):
    """A failed sync may be followed by good ones, a restart on the same boot, and a power cut.

    Then what was not written may be read for a while, and be gone later.
    """

    def __init__(self, seed: int, **parts: Any) -> None:
        super().__init__(seed, **parts)
        self.failures = 0

    def _disturb_disk(self, process: Process) -> None:
        if self._disk.failing:
            # The kernel tells each process that has the disk's files open of it once.
            if all(process.store._broken for process in self._processes):
                self._disk.failing = self._rng.random() > RECOVERY_SHARE
        elif self._rng.random() < FAILURE_SHARE:
            self._disk.failing = self._uncertain = True
            self.failures += 1
        else:
            super()._disturb_disk(process)

    def _end_processes(self, *, survivors: list[Process]) -> None:
        super()._end_processes(survivors=survivors)
        self._disk.evict()
