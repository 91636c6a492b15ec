"""The first lines of what an operator looks at: an object, a dead letter, a damaged file."""

from itertools import islice
from pathlib import Path

import msgspec

from workers.errors import BucketBrigadeError
from workers.operate.dead_letters import DeadLetters, NoSuchDeadLetter, UnreadableDeadLetter
from workers.operate.queued_dead_letters import QueuedDeadLetters
from workers.segments.naming import NAME
from workers.spool.frames import UnknownFormat
from workers.spool.segment_file import OPEN, READY, SegmentFile
from workers.spool.spool import QUARANTINE, Spool
from workers.upload.reading import beginning
from workers.upload.s3 import Bucket

MAX_LINES, MAX_LINE = 20, 2000
# So much of an object is read; compressed it holds more than is shown.
READ_BYTES = 1 << 16


class NothingThere(BucketBrigadeError):
    """There is no such object, dead letter or file."""


class FirstLines(msgspec.Struct, frozen=True, kw_only=True):
    """The first lines of something, long ones cut, and whether there is more of it."""

    lines: list[str]
    more: bool


def of_object(bucket: Bucket, name: str, key: str) -> FirstLines:
    """Return the first lines of the object `key` in the bucket `name`. Blocks on the network.

    Raises:
        NothingThere: the key is none of this service's.
        ObjectMissing, StoreUnavailable, UnreadableObject: see there.
    """
    if not NAME.search(key):
        raise NothingThere(f"{key} names no segment")
    body, _ = bucket.get(name, key, most=READ_BYTES)
    return _cut(beginning(body, most=READ_BYTES), more=len(body) == READ_BYTES)


def of_dead_letter(letters: DeadLetters | QueuedDeadLetters, name: str) -> FirstLines:
    """Return the first lines of a dead letter. Blocks on the disk, or on the network.

    Raises:
        NothingThere: there is none of that name, or it cannot be read.
        QueueError: the queue does not answer.
    """
    try:
        content = letters.beginning(name, most=READ_BYTES)
    except (NoSuchDeadLetter, UnreadableDeadLetter) as error:
        raise NothingThere(str(error)) from error
    return _cut(content, more=len(content) == READ_BYTES)


def of_damaged(spool: Spool, name: str) -> FirstLines:
    """Return the first lines that can be read of a file in quarantine. Blocks on the disk.

    Raises:
        NothingThere: there is none of that name, or it cannot be read.
    """
    path = _file(spool.root / QUARANTINE, name, OPEN, READY)
    content = b""
    try:
        for run in SegmentFile(path, disk=spool.disk).read_damaged(0, []):
            content += run
            if len(content) >= READ_BYTES:
                break
    except (OSError, UnknownFormat) as error:
        raise NothingThere(f"it cannot be read: {error}") from error
    return _cut(content, more=len(content) >= READ_BYTES)


def _file(directory: Path, name: str, *endings: str) -> Path:
    if NAME.fullmatch(name):
        for path in (directory / (name + ending) for ending in endings):
            if path.exists():
                return path
    raise NothingThere(f"there is no {name}")


def _cut(content: bytes, *, more: bool) -> FirstLines:
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    shown = [_text(line) for line in islice(lines, MAX_LINES)]
    return FirstLines(lines=shown, more=more or len(lines) > MAX_LINES)


def _text(line: bytes) -> str:
    text = line[: 4 * MAX_LINE].decode(errors="replace")
    return text if len(text) <= MAX_LINE else text[:MAX_LINE] + "…"
