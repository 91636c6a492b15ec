"""Trials in which one of two processes is killed, and the other is asked for its keys at once."""

from tests.chaos.keys.keyed_trial import KeyedTrial


class SurvivorTrial(KeyedTrial):
    """What the killed one had synced, and not logged, is known only once it is recovered."""

    def _die(self) -> None:
        survivors = [process for process in self._processes if process is not self._acting]
        if not survivors or self._disk.failing:
            super()._die()
            return
        self._end_processes(survivors=survivors)
        for key in sorted(self._requests.keys() - self.answered.keys()):
            self._send_keyed(survivors[0], key)
        survivors[0].commit()
        self._collect_answers()
