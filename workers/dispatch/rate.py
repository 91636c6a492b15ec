"""How fast jobs are finished lately, and so when there should be room again."""

import math
import time
from collections import deque

MAX_RETRY_AFTER, FIRST_RETRY_AFTER = 60, 5


class DrainRate:
    """The times of the last finished jobs. Thread-safe; nothing blocks."""

    def __init__(self) -> None:
        self._finished: deque[float] = deque(maxlen=32)

    def count(self) -> None:
        """Take note of a finished job."""
        self._finished.append(time.monotonic())

    def retry_after(self, queued: int) -> int:
        """Return whole seconds until half of the `queued` jobs should be done.

        The rate counts the time since the last finished jobs, so it falls while nothing finishes.
        """
        finished = self._finished
        if not finished:
            return FIRST_RETRY_AFTER
        rate = len(finished) / max(time.monotonic() - finished[0], 0.001)
        return max(1, min(MAX_RETRY_AFTER, math.ceil((queued / 2 + 1) / rate)))
