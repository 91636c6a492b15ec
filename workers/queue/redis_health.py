"""Whether a Redis server takes anything, how full it is, and whether it keeps what it promises."""

import logging
import time
import uuid

from workers.errors import QueueError, QueueUnavailable
from workers.queue.leases import LEASE_MILLISECONDS
from workers.queue.redis_client import RedisServer, pairs

log = logging.getLogger(__name__)

# Where the server has no maxmemory that half of it could be the budget.
DEFAULT_MAX_BYTES = 1 << 30
CONFIG_SECONDS = 10.0
# A server that takes longer for a look takes nothing: readiness is red soon where it hangs.
LOOK_SECONDS = 2.0
KEEPS_ALL = "noeviction"


class RedisHealth:
    """One process's view of its server; for one thread at a time. `look` blocks on the network.

    `max_bytes` is the byte budget, half of the server's maxmemory unless it is set; `held` what the
    service holds of it. `unverified` says why the server's configuration is unknown, `doubts` what
    in it weakens the promise of a 202.
    """

    def __init__(self, server: RedisServer, *, max_bytes: int | None) -> None:
        self.max_bytes = max_bytes or DEFAULT_MAX_BYTES
        self.held = 0
        self.unverified: str | None = None
        self.doubts: list[str] = []
        self._set_bytes = max_bytes
        # What others wait for does not hold a look up.
        self._server = server.apart(answer_seconds=LOOK_SECONDS)
        self._refusal: str | None = None
        self._warned: set[str] = set()
        self._config_at = 0.0

    def look(self) -> str | None:
        """Say why nothing should be accepted now; None where all is well."""
        try:
            held = self._server.call("HGET", f"{self._server.prefix}ledger", "held")
            if time.monotonic() >= self._config_at:
                self._refusal = self._verify() or self._late()
                self._config_at = time.monotonic() + CONFIG_SECONDS
        except QueueUnavailable as error:
            # Another server may answer next, with another configuration.
            self._config_at = 0.0
            return str(error)
        self.held = int(held or 0)
        return self._refusal

    def is_full(self) -> None:
        """Take note that an append was refused for want of room."""
        self.held = self.max_bytes

    def close(self) -> None:
        """End the connection."""
        self._server.forget()

    def _verify(self) -> str | None:
        """Read the configuration; warn of what weakens the promise; return what breaks it."""
        found: dict[str, str] = {}
        try:
            for pattern in ("maxmemory*", "append*"):
                found |= _decoded(self._server.call("CONFIG", "GET", pattern))
        except QueueUnavailable as error:
            if "refuses" not in str(error):
                raise
            self.unverified = f"its configuration cannot be read: {error}"
            self._warn("queue not verified", self.unverified)
            return None
        self.unverified = None
        if self._set_bytes is None:
            self.max_bytes = int(found.get("maxmemory", 0)) // 2 or DEFAULT_MAX_BYTES
        self.doubts = doubts(found)
        for doubt in self.doubts:
            self._warn("queue in doubt", doubt)
        return evicts(found)

    def _late(self) -> str | None:
        """Say so where a segment that is created now would be older than the watermark."""
        through = self._server.call("HGET", f"{self._server.prefix}watermark", "through")
        behind = int(through or 0) / 1000 - time.time()
        if behind <= 0:
            return None
        return f"this machine's clock is {behind:.0f} s behind the queue's watermark: set it"

    def _warn(self, event: str, reason: str) -> None:
        if reason not in self._warned:
            self._warned.add(reason)
            log.warning(event, extra={"reason": reason})


def evicts(config: dict[str, str]) -> str | None:
    """Say so where a server throws keys away once its memory is full."""
    policy = config.get("maxmemory-policy", KEEPS_ALL)
    if policy == KEEPS_ALL:
        return None
    reason = f"the Redis server's maxmemory-policy is {policy}: it must be {KEEPS_ALL}"
    log.error("queue refused", extra={"reason": reason})
    return reason


def doubts(config: dict[str, str]) -> list[str]:
    """Say what weakens the promise of a 202 on this server."""
    if config.get("appendonly") != "yes":
        return ["the Redis server has no append-only file (appendonly no): a restart loses all"]
    if config.get("appendfsync") != "always":
        every = config.get("appendfsync")
        return [f"the Redis server's appendfsync is {every}, not always: a crash loses the last"]
    return []


def try_server(server: RedisServer, *, max_bytes: int | None, replicas: int) -> str | None:
    """Try all that the service does there; return what weakens the promise, or None. Blocks.

    Raises:
        QueueError: it cannot be used; says why.
    """
    health = RedisHealth(server, max_bytes=max_bytes)
    refusal = health.look()
    health.close()
    if refusal:
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


def _decoded(answer: list[bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in pairs(answer)}
