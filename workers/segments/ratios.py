"""Compression ratios per stream, learnt from stored objects."""

import threading


class Ratios:
    """How far each stream compresses, learnt from its last objects. Thread-safe.

    Remembers the `most` streams that were stored last: their names are the clients'.
    """

    def __init__(self, *, most: int) -> None:
        self._ratios: dict[str, float] = {}
        self._most = most
        self._lock = threading.Lock()

    def learn(self, stream: str, *, size: int, stored: int) -> None:
        """Take note of an object: bytes before and after compression."""
        seen = size / max(stored, 1)
        with self._lock:
            self._ratios[stream] = (self._ratios.pop(stream, seen) + seen) / 2
            if len(self._ratios) > self._most:
                del self._ratios[next(iter(self._ratios))]

    def __getitem__(self, stream: str) -> float:
        with self._lock:
            return self._ratios.get(stream, 1.0)
