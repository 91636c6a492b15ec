"""Segments in a queue as an operator sees them: listed and read. Where they go is fixed."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from workers.figures.queued import read_figures
from workers.operate.segments import Listed, NoSuchSegment, cause_of
from workers.queue.queued_body import QueuedBody
from workers.segments.naming import created_microseconds
from workers.segments.segment import Header

if TYPE_CHECKING:
    from workers.dispatch.jobs import Key
    from workers.queue.redis_client import RedisServer

# Segments of one round trip.
AT_ONCE = 200


class QueuedSegments:
    """The segments of a queue that are neither stored nor dead. Blocks on the network.

    Every method may raise `QueueError`.
    """

    def __init__(self, server: "RedisServer") -> None:
        self._server = server
        # How many jobs wait for a next try, by reason; why; and what is tried: as of the last look.
        self.parked: Counter[str] = Counter()
        self._causes: dict[Key, str] = {}
        self._tried: set[str] = set()

    def all(self) -> Iterator[Listed]:
        """Yield all segments, oldest first. `state`: open, ready, leased, uploading or parked.

        One that a worker has is `uploading` while it is tried, else `parked` where such ones fail.
        """
        self._look()
        names = self._server.call("ZRANGE", f"{self._server.prefix}unstored", 0, -1)
        for start in range(0, len(names), AT_ONCE):
            for found in self._server.script("segments", *names[start : start + AT_ONCE]):
                yield self._listed(*found)

    def lines(self, name: str) -> Iterator[bytes]:
        """Yield a segment's lines in runs.

        Raises:
            NoSuchSegment: the queue has none of that name.
        """
        found = self._server.call("HMGET", f"{self._server.prefix}segment:{name}", "state", "size")
        state, size = found
        if state is None:
            raise NoSuchSegment(f"no segment {name} in the queue")
        if state == b"dead":
            raise NoSuchSegment(f"{name} is a dead letter: see flask dead-letters")
        return QueuedBody(self._server, name, size=int(size)).read()

    def _look(self) -> None:
        """Read what the processes of all machines show."""
        processes = read_figures(self._server).processes
        self._causes = {cause.key: cause.reason for each in processes for cause in each.causes}
        works = [worker.work for each in processes for worker in each.workers]
        self._tried = {work.segment for work in works if work is not None}
        self.parked = sum((Counter(each.parked) for each in processes), Counter())

    def _listed(self, name: bytes, header: bytes, lines: bytes, state: bytes) -> Listed:
        about = msgspec.json.decode(header, type=Header)
        cause = cause_of(about, self._causes)
        shown = state.decode()
        if shown == "leased" and about.name in self._tried:
            shown = "uploading"
        elif shown == "leased" and cause is not None:
            shown = "parked"
        return Listed(
            name=name.decode(),
            header=about,
            lines=int(lines),
            age_seconds=max(0.0, time.time() - created_microseconds(about.name) / 1e6),
            state=shown,
            cause=cause,
            decision=None,
            fault=None,
        )
