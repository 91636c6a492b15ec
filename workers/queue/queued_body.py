"""The lines of a segment in Redis, read a few parts at a time."""

from collections.abc import Iterator

from workers.errors import QueueUnavailable
from workers.queue.redis_client import RedisServer

# About as much of a segment is in memory at one time, unless a single part is larger.
READ_BYTES = 1 << 20


class QueuedBody:
    """A segment's lines: a list of parts, each what one group commit brought.

    `parts` is how many have been appended, `size` the bytes of all.
    """

    def __init__(self, server: RedisServer, name: str, *, size: int = 0) -> None:
        self.parts = 0
        self.size = size
        self._server = server
        self._key = f"{server.prefix}lines:{name}"

    def read(self) -> Iterator[bytes]:
        """Yield the parts in order. Blocks on the network.

        Raises:
            QueueUnavailable: the server does not answer, or the lines are not there any more: the
                lease was lost, and another worker has finished the segment.
        """
        parts = int(self._server.call("LLEN", self._key))
        at_once = max(1, READ_BYTES * parts // max(1, self.size))
        found = 0
        for start in range(0, parts, at_once):
            for part in self._server.call("LRANGE", self._key, start, start + at_once - 1):
                found += len(part)
                yield part
        if found != self.size:
            raise QueueUnavailable("its lines are not in the queue: another worker has had it")

    def read_damaged(self, lines: int, lost: list[tuple[int, int]]) -> Iterator[bytes]:
        """Yield the parts in order: the queue has all of them, or none."""
        del lines, lost
        return self.read()

    def make_ready(self) -> bool:
        """Return True: a sealed segment takes no more."""
        return True

    def discard(self) -> None:
        """Do nothing: the lines go when the segment is finished."""
