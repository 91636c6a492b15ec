"""The leases of one worker process: the segments of the shared queue that are its to upload.

A lease ends by itself unless it is renewed, so that a process that dies, or stands still, holds
nothing up for longer. Two workers with one segment do no harm: its object is the same, and only the
one with the lease counts it.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterable

# A lease, and how often it is renewed.
LEASE_SECONDS, RENEW_SECONDS = 60.0, 20.0
LEASE_MILLISECONDS = int(LEASE_SECONDS * 1000)
# A job parked for longer is given back: perhaps another machine can upload it.
PARKED_SECONDS = 60.0


class Leases:
    """Which segments this process has, and since when one is parked. Quick and thread-safe."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        # Names this process among all workers.
        self.token = secrets.token_hex(16)
        self._clock = clock
        self._parked: dict[str, float | None] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._parked)

    def __contains__(self, name: object) -> bool:
        return name in self._parked

    def add(self, name: str) -> None:
        """Take note of a lease."""
        with self._lock:
            self._parked[name] = None

    def drop(self, names: Iterable[str]) -> None:
        """Forget leases: they have ended, or are lost."""
        with self._lock:
            for name in names:
                self._parked.pop(name, None)

    def park(self, name: str) -> None:
        """Take note that a segment waits for another attempt."""
        with self._lock:
            if name in self._parked and self._parked[name] is None:
                self._parked[name] = self._clock()

    def names(self) -> list[str]:
        """Return all of them."""
        with self._lock:
            return list(self._parked)

    def parked_long(self) -> list[str]:
        """Return those whose first failed attempt was `PARKED_SECONDS` ago."""
        limit = self._clock() - PARKED_SECONDS
        with self._lock:
            return [name for name, since in self._parked.items() if since and since <= limit]
