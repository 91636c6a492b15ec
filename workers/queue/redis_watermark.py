"""How far the queue is: the time before which all segments are stored or dead."""

import secrets
import uuid

from workers.queue.redis_client import RedisServer
from workers.watermarks.queue_watermark import Progress

# The watermark stays so far behind the server's clock: a new segment has so long for its first
# append, and machines' clocks may differ by so much.
MARGIN_SECONDS = 5.0
# A process that has not published for so many rounds, or for a minute, has ended.
ROUNDS, LEASE_SECONDS = 3, 60.0


class RedisProgress:
    """One worker process's view of it, a `SharedProgress`. `seconds` is the time between rounds."""

    def __init__(self, server: RedisServer, *, seconds: float) -> None:
        self._server = server
        self._token = secrets.token_hex(16)
        self._lease = max(LEASE_SECONDS, ROUNDS * seconds)
        self._is_publisher = False

    def advance(self) -> Progress | None:
        """Move the watermark on, and return it; None where another process publishes it. Blocks.

        Raises:
            QueueUnavailable, QueueUnconfirmed: it may have moved, and nothing may be published.
        """
        found = self._ask(self._lease)
        self._is_publisher = bool(found)
        if not found:
            return None
        id, through = found
        return Progress(id.decode(), int(through) * 1000)

    def release(self) -> None:
        """Let another process publish. Blocks on the network.

        Raises:
            QueueUnavailable, QueueUnconfirmed: the lease ends by itself.
        """
        if self._is_publisher:
            self._ask(0.0)
        self._server.forget()

    def _ask(self, lease: float) -> list[bytes]:
        found: list[bytes] = self._server.script(
            "watermark",
            *(self._token, int(lease * 1000), int(MARGIN_SECONDS * 1000), uuid.uuid4().hex),
            confirmed=True,
        )
        return found
