"""What `flask check` tries on the server: to reach it, to write, its configuration."""

import uuid

from workers.errors import QueueError, QueueUnavailable
from workers.queue.leases import LEASE_MILLISECONDS
from workers.queue.redis_client import RedisServer
from workers.queue.redis_health import RedisHealth


def try_server(server: RedisServer, *, max_bytes: int | None, replicas: int) -> str | None:
    """Try all that the service does there; return what weakens the promise, or None. Blocks.

    Raises:
        QueueError: it cannot be used; says why.
    """
    health = RedisHealth(server, max_bytes=max_bytes)
    if refusal := health.look():
        raise QueueUnavailable(refusal)
    writer = f"check-{uuid.uuid4().hex}"
    # A writer with nothing open: its lease ends by itself.
    server.script("renew_writer", writer, LEASE_MILLISECONDS, confirmed=False)
    if health.held > health.max_bytes:
        raise QueueUnavailable(f"it holds {health.held} bytes of {health.max_bytes}")
    notes = [*health.doubts, *([health.unverified] if health.unverified else [])]
    if replicas:
        try:
            server.script("renew_writer", writer, LEASE_MILLISECONDS, confirmed=True)
        except QueueError as error:
            raise QueueUnavailable(f"REDIS_WAIT_REPLICAS={replicas}: {error}") from error
    return "; ".join(notes) or None
