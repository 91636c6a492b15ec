"""What is kept for a person to look at, as lists: dead letters and quarantined files."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from workers.operate.queued_dead_letters import newest_in_queue
from workers.spool.spool import DEAD, QUARANTINE, Spool

if TYPE_CHECKING:
    from workers.queue.redis_client import RedisServer

# So many of each are shown, the newest; their names begin with their time.
MAX_SHOWN = 50


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


def dead_letters(spool: Spool) -> Kept:
    """Return the dead letters. Blocks on the disk."""
    return _kept(spool.root / DEAD, ending=".ndjson")


def kept_in_queue(server: "RedisServer") -> Kept:
    """Return the dead letters of a queue. Blocks on the network.

    Raises:
        QueueError: the queue does not answer.
    """
    count, newest = newest_in_queue(server, MAX_SHOWN)
    return Kept(count=count, newest=[_shown(*each) for each in newest])


def quarantined(spool: Spool) -> Kept:
    """Return the damaged files that were set aside. Blocks on the disk."""
    return _kept(spool.root / QUARANTINE, ending="")


def _kept(directory: Path, *, ending: str) -> Kept:
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".json"))
    except OSError:
        names = []
    newest = [_entry(directory / name, ending=ending) for name in names[: -MAX_SHOWN - 1 : -1]]
    return Kept(count=len(names), newest=newest)


def _entry(path: Path, *, ending: str) -> Entry:
    try:
        content = path.read_bytes()
    except OSError as error:
        return Entry(name=path.stem, reason=f"its note cannot be read: {error}")
    return _shown(path.stem, content, _size(path, ending=ending))


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


def _size(note: Path, *, ending: str) -> int | None:
    endings = (ending,) if ending else (".open", ".ready")
    for each in endings:
        try:
            return note.with_suffix(each).stat().st_size
        except OSError:
            continue
    return None
