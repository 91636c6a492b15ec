"""Dead letters that a shared queue keeps: listed, read, and given back to the workers."""

import contextlib
import heapq
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from workers.errors import StoreError
from workers.operate.dead_letters import DeadLetter, NoSuchDeadLetter
from workers.queue.queued_body import QueuedBody
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
        note = self._note(name)
        return DeadLetter(note, b"".join(self._body(name).read()))

    def beginning(self, name: str, *, most: int) -> bytes:
        """Return the first lines of a dead letter, until they have `most` bytes.

        Raises:
            NoSuchDeadLetter: see there.
        """
        self._note(name)
        found = b""
        for part in self._body(name).read():
            found += part
            if len(found) >= most:
                break
        return found[:most]

    def replay_bytes(self, name: str) -> int:
        """Return 0: a replay reads nothing into memory."""
        del name
        return 0

    def replay(self, name: str) -> int:
        """Let workers have a dead letter again; return its number of payloads.

        Raises:
            NoSuchDeadLetter: see there.
        """
        note = self._note(name)
        payloads = int(self._server.script("replay", name))
        if not payloads:
            raise NoSuchDeadLetter(f"no dead letter {name}")
        with contextlib.suppress(StoreError):
            self._bucket.delete(note["bucket"], dead_marker(name))
        return payloads

    def _body(self, name: str) -> QueuedBody:
        size = self._server.call("HGET", f"{self._server.prefix}segment:{name}", "size")
        return QueuedBody(self._server, name, size=int(size or 0))

    def _note(self, name: str) -> dict[str, Any]:
        note = self._server.call("HGET", f"{self._server.prefix}dead", name)
        if note is None:
            raise NoSuchDeadLetter(f"no dead letter {name}")
        found: dict[str, Any] = msgspec.json.decode(note)
        return found


def count_in_queue(server: "RedisServer") -> int:
    """Return how many dead letters there are. Raises `QueueError`, as all functions here."""
    return int(server.call("HLEN", f"{server.prefix}dead"))


def newest_in_queue(server: "RedisServer", most: int) -> list[bytes]:
    """Return the names of the newest; reads the names of all."""
    return heapq.nlargest(most, server.call("HKEYS", f"{server.prefix}dead"))


def shown_in_queue(
    server: "RedisServer", names: Sequence[bytes]
) -> list[tuple[str, bytes, int | None]]:
    """Return name, note and bytes of lines of those that are still there."""
    if not names:
        return []
    notes, sizes = server.script("letters", *names)
    found = zip(names, notes, sizes, strict=True)
    return [(name.decode(), note, int(size)) for name, note, size in found if note and size]
