"""Memory for request bodies that are arriving: one budget of bytes for all of a process.

It counts bytes that have arrived, and not those that a client announces. When they are too many,
the largest body gives way, so that a client can only shut itself out.
"""

import threading

from app.http.problems import Unavailable

RETRY_AFTER_SECONDS = 1


class BodyMemory:
    """Thread-safe; nothing here blocks. `limit` is in bytes."""

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.lock = threading.Lock()
        # Those that are still arriving, and can be dropped.
        self.growing: dict[Buffer, None] = {}

    def make_room(self) -> None:
        """Drop the largest bodies until the others fit; the caller holds the lock."""
        while self.used > self.limit and self.growing:
            max(self.growing, key=len).drop()


class Buffer:
    """One body's bytes, as they arrive."""

    __slots__ = ("_data", "_memory", "_size", "dropped")

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self._data = bytearray()
        self._size = 0
        self.dropped = False

    def __len__(self) -> int:
        return self._size

    def append(self, part: bytes) -> None:
        """Add what arrived.

        Raises:
            Unavailable: this body had to give way; nothing of it is kept.
        """
        memory = self._memory
        with memory.lock:
            if not self.dropped:
                self._data += part
                self._size += len(part)
                memory.used += len(part)
                memory.growing[self] = None
                memory.make_room()
            self._check()

    def whole(self) -> bytes:
        """Return the body, which is complete; its bytes count until `release`.

        Raises:
            Unavailable: as for `append`.
        """
        with self._memory.lock:
            self._check()
            self._memory.growing.pop(self, None)
            data, self._data = self._data, bytearray()
        return bytes(data)

    def release(self) -> None:
        """Give the memory back. A second call does nothing."""
        with self._memory.lock:
            self.drop()

    def _check(self) -> None:
        if self.dropped:
            detail = "Too many bodies are being received."
            raise Unavailable(detail, retry_after=RETRY_AFTER_SECONDS)

    def drop(self) -> None:
        """Forget the body; the caller holds the lock."""
        self._memory.growing.pop(self, None)
        self._memory.used -= self._size
        self._data, self._size, self.dropped = bytearray(), 0, True
