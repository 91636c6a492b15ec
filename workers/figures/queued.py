"""The figures of all machines, in the queue that they share: each process writes its own.

    figures     hash: a process's document by its id, without its objects; deflated JSON
    published   sorted set: the ids by when they were written last, by the server's clock
    objects     list: the last objects that were stored, newest first
    history     list: the service's counts every two seconds, newest first

All have an expiry. One short script writes, one reads; nothing is looked for among the keys.
"""

import contextlib
import logging
import secrets
import time
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
from isal import isal_zlib

from workers.errors import QueueError
from workers.figures.figures import ProcessFigures, StoredFigures
from workers.figures.history import REFUSED, SLOTS, STEP_SECONDS, Moment
from workers.figures.published import MAX_OBJECTS, newest
from workers.spool.counters import Counters

if TYPE_CHECKING:
    from workers.queue.redis_client import RedisServer

log = logging.getLogger(__name__)

# A process that writes nothing any more is shown, as an old one, for so long.
KEEP_SECONDS = 60.0
_OBJECTS = msgspec.json.Decoder(StoredFigures)


class QueuedPlace:
    """One process's side of it. Implements `Place`; blocks on the network.

    `counters` are the process's, `max_bytes` says what the queue may hold.
    """

    is_slow = True
    seconds = 2.0
    inherited: Sequence[StoredFigures] = ()

    def __init__(
        self, server: "RedisServer", *, counters: Counters, max_bytes: Callable[[], int]
    ) -> None:
        self._server = server
        self._counters = counters
        self._max_bytes = max_bytes
        self._id = secrets.token_hex(16)
        self._refused = 0
        # The segments whose objects are in the list.
        self._shown: set[str] = set()
        self._failed = False

    def write(self, figures: ProcessFigures) -> None:
        """Replace what this process shows; the first one of a moment notes it in the history."""
        about = msgspec.structs.replace(figures, objects=[])
        self._publish(isal_zlib.compress(msgspec.json.encode(about), 1), figures)

    def close(self, figures: ProcessFigures) -> None:
        """Show the process no longer; its last objects stay. Not while the queue is away."""
        if not self._failed:
            self._publish(b"", figures)

    def _publish(self, document: bytes, figures: ProcessFigures) -> None:
        refused = sum(self._counters[field] for field in REFUSED)
        objects = [each for each in reversed(figures.objects) if each.segment not in self._shown]
        try:
            self._server.script(
                "publish",
                *(self._id, document, int(KEEP_SECONDS * 1000)),
                *(int(STEP_SECONDS * 1000), SLOTS),
                *(refused - self._refused, self._max_bytes(), MAX_OBJECTS),
                *map(msgspec.json.encode, objects),
            )
        except QueueError as error:
            if not self._failed:
                log.warning("the console has old figures", extra={"reason": str(error)})
            self._failed = True
            return
        self._failed = False
        self._refused = refused
        self._shown = {each.segment for each in figures.objects}


class QueuedFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What is in the queue of it; `ready` segments wait there for a worker."""

    processes: list[ProcessFigures]
    objects: list[StoredFigures]
    moments: list[Moment]
    max_bytes: int
    ready: int


def read_figures(server: "RedisServer") -> QueuedFigures:
    """Read all of it, in one round trip. Blocks on the network.

    Raises:
        QueueError: the queue does not answer.
    """
    milliseconds = int(KEEP_SECONDS * 1000)
    now, documents, objects, history, budget, ready = server.script("figures", milliseconds)
    # Ages are by the server's clock: those of the machines may differ.
    ahead = time.time() - int(now) / 1000
    processes = [
        figures
        for written, document in documents
        if (figures := _process(document, at=int(written) / 1000 + ahead)) is not None
    ]
    moments = [_moment(line, ahead=ahead) for line in reversed(history)]
    oldest = time.time() - SLOTS * STEP_SECONDS
    return QueuedFigures(
        processes=sorted(processes, key=lambda each: (each.machine, each.started_at, each.pid)),
        # One that was sent twice is there twice.
        objects=newest(list({each.segment: each for each in _objects(objects)}.values())),
        moments=[moment for moment in moments if moment.at > oldest],
        max_bytes=int(budget or 0),
        ready=int(ready),
    )


def _process(document: bytes, *, at: float) -> ProcessFigures | None:
    """Read a document; None where another version wrote it."""
    with contextlib.suppress(msgspec.DecodeError, zlib.error):
        figures = msgspec.json.decode(zlib.decompress(document), type=ProcessFigures)
        return msgspec.structs.replace(figures, written_at=at)
    return None


def _objects(lines: Sequence[bytes]) -> list[StoredFigures]:
    found = []
    for line in lines:
        with contextlib.suppress(msgspec.DecodeError):
            found.append(_OBJECTS.decode(line))
    return found


def _moment(line: bytes, *, ahead: float) -> Moment:
    at, accepted, stored, refused, held, dead = map(int, line.split())
    return Moment(
        at=at / 1000 + ahead,
        accepted=accepted,
        stored=stored,
        refused=refused,
        pending=accepted - stored - dead,
        held_bytes=held,
        dead=dead,
    )
