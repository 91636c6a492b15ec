"""What is kept for a person to look at, as lists: dead letters and quarantined files."""

import heapq
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from workers.operate import queued_dead_letters
from workers.overview.listing import Listing

if TYPE_CHECKING:
    from workers.queue.redis_client import RedisServer

# So many of each are shown, the newest; their names begin with their time.
MAX_SHOWN = 50
# A change may leave a file's or a directory's time as it is within a tick of the kernel's clock.
SETTLED_SECONDS = 1.0
# In a queue one may come as another goes: then their number is the same.
QUEUE_SECONDS = 30.0


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter, or a file in quarantine. What its note does not say is None."""

    name: str
    reason: str
    stream: str | None = None
    object: str | None = None
    payloads: int | None = None
    size: int | None = None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """How many there are, and the newest."""

    count: int
    newest: list[Entry]


class _Note(msgspec.Struct):
    reason: str
    stream: str | None = None
    bucket: str | None = None
    key: str | None = None
    payloads: int | None = None


class KeptFiles:
    """A directory with a note for each file, which has one of some endings. Thread-safe."""

    def __init__(self, directory: Path, *endings: str) -> None:
        self._directory = directory
        self._endings = endings
        self._kept = Listing(self._take, stamp=self._stamp)

    def look(self) -> Kept:
        """Return what is there. Blocks on the disk: of many files only while they change."""
        return self._kept.get()

    def _stamp(self) -> object:
        try:
            found = self._directory.stat()
        except OSError:
            return None
        is_settled = found.st_mtime < time.time() - SETTLED_SECONDS
        return (found.st_ino, found.st_mtime_ns) if is_settled else None

    def _take(self) -> Kept:
        try:
            names = [name for name in os.listdir(self._directory) if name.endswith(".json")]
        except OSError:
            names = []
        shown = heapq.nlargest(MAX_SHOWN, names)
        newest = [_entry(self._directory / name, self._endings) for name in shown]
        return Kept(count=len(names), newest=newest)


class KeptInQueue:
    """Lists a queue's dead letters. Thread-safe.

    Every method blocks on the network, and raises `QueueError` where the queue does not answer.
    """

    def __init__(self, server: "RedisServer") -> None:
        self._server = server
        count = partial(queued_dead_letters.count_in_queue, server)
        names = partial(queued_dead_letters.newest_in_queue, server, MAX_SHOWN)
        self._count = count
        self._newest = Listing(names, stamp=count, max_age=QUEUE_SECONDS)

    def look(self) -> Kept:
        """Return what is there. Those that are gone since they were listed are left out."""
        shown = queued_dead_letters.shown_in_queue(self._server, self._newest.get())
        return Kept(count=self._count(), newest=[_shown(*each) for each in shown])


def _entry(path: Path, endings: Sequence[str]) -> Entry:
    try:
        content = path.read_bytes()
    except OSError as error:
        return Entry(name=path.stem, reason=f"its note cannot be read: {error}")
    return _shown(path.stem, content, _size(path, endings))


def _shown(name: str, content: bytes, size: int | None) -> Entry:
    try:
        note = msgspec.json.decode(content, type=_Note)
    except msgspec.DecodeError as error:
        return Entry(name=name, reason=f"its note cannot be read: {error}")
    return Entry(
        name=name,
        reason=note.reason,
        stream=note.stream,
        object=f"s3://{note.bucket}/{note.key}" if note.bucket and note.key else None,
        payloads=note.payloads,
        size=size,
    )


def _size(note: Path, endings: Sequence[str]) -> int | None:
    for each in endings:
        try:
            return note.with_suffix(each).stat().st_size
        except OSError:
            continue
    return None
