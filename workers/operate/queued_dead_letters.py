"""Dead letters that a shared queue keeps: listed, read, and given back to the workers."""

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from workers.errors import StoreError
from workers.operate.dead_letters import DeadLetter, NoSuchDeadLetter
from workers.queue.queued_body import part_lines
from workers.segments.naming import dead_marker
from workers.upload.s3 import Bucket

if TYPE_CHECKING:
    from workers.queue.redis_client import RedisServer


class QueuedDeadLetters:
    """The dead letters of a queue, as `DeadLetters` are those of a spool. Blocks on the network.

    Every method may raise `QueueUnavailable`.
    """

    def __init__(self, server: "RedisServer", *, bucket: Bucket) -> None:
        self._server = server
        self._bucket = bucket

    def all(self) -> list[dict[str, Any]]:
        """Return all notes, oldest first."""
        notes = self._server.call("HVALS", f"{self._server.prefix}dead")
        return sorted(map(msgspec.json.decode, notes), key=lambda note: str(note["name"]))

    def read(self, name: str) -> DeadLetter:
        """Read one dead letter.

        Raises:
            NoSuchDeadLetter: see there.
        """
        note = self._server.call("HGET", f"{self._server.prefix}dead", name)
        if note is None:
            raise NoSuchDeadLetter(f"no dead letter {name}")
        parts = self._server.call("LRANGE", f"{self._server.prefix}lines:{name}", 0, -1)
        return DeadLetter(msgspec.json.decode(note), b"".join(map(part_lines, parts)))

    def replay(self, name: str) -> int:
        """Let workers have a dead letter again; return its number of payloads.

        Raises:
            NoSuchDeadLetter: see there.
        """
        note = self.read(name).note
        payloads = int(self._server.script("replay", name))
        if not payloads:
            raise NoSuchDeadLetter(f"no dead letter {name}")
        with contextlib.suppress(StoreError):
            self._bucket.delete(note["bucket"], dead_marker(name))
        return payloads
