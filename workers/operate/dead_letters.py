"""Dead letters as a person sees them: listed, read, and given back to the service.

A replay makes a process spool of its own, which any running process adopts like a dead one's.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from workers.errors import BucketBrigadeError, StoreError
from workers.segments.naming import NAME, dead_marker
from workers.segments.segment import Header
from workers.spool.counters import Field
from workers.spool.decisions import Decisions
from workers.spool.disk import WAIT, lock_directory
from workers.spool.spool import DEAD, Spool
from workers.upload.s3 import Bucket

RUN_BYTES = 1 << 20


class NoSuchDeadLetter(BucketBrigadeError):
    """There is no dead letter of that name."""


class UnreadableDeadLetter(BucketBrigadeError):
    """A dead letter is not whole, or in the format of another version; it stays as it is."""


class _Note(Header, frozen=True, kw_only=True):
    reason: str
    payloads: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter: the note beside it (reason, key, payloads) and its lines."""

    note: dict[str, Any]
    lines: bytes


class DeadLetters:
    """The dead letters of a spool. Methods block on the disk."""

    def __init__(self, spool: Spool, *, bucket: Bucket) -> None:
        self._spool = spool
        self._bucket = bucket
        self._directory = spool.root / DEAD

    def all(self) -> list[dict[str, Any]]:
        """Return all notes, oldest first; one that cannot be read has that as its reason."""
        return [_listed(path) for path in sorted(self._directory.glob("*.json"))]

    def read(self, name: str) -> DeadLetter:
        """Read one dead letter.

        Raises:
            NoSuchDeadLetter, UnreadableDeadLetter: see there.
        """
        path = self._directory / f"{name}.json"
        if not NAME.fullmatch(name) or not path.exists():
            raise NoSuchDeadLetter(f"no dead letter {name}")
        note = _read_note(path)
        lines = path.with_suffix(".ndjson").read_bytes()
        if (found := lines.count(b"\n")) != note["payloads"]:
            raise UnreadableDeadLetter(f"{name} has {found} lines of {note['payloads']} payloads")
        return DeadLetter(note, lines)

    def beginning(self, name: str, *, most: int) -> bytes:
        """Return the first `most` bytes of a dead letter's lines; its note may be wrong.

        Raises:
            NoSuchDeadLetter, UnreadableDeadLetter: see there.
        """
        try:
            with self._lines_of(name).open("rb") as file:
                return file.read(most)
        except FileNotFoundError as error:
            raise NoSuchDeadLetter(f"no dead letter {name}") from error
        except OSError as error:
            raise UnreadableDeadLetter(f"it cannot be read: {error.strerror}") from error

    def replay_bytes(self, name: str) -> int:
        """Return how many bytes a replay reads into memory.

        Raises:
            NoSuchDeadLetter: see there.
        """
        try:
            return self._lines_of(name).stat().st_size
        except OSError as error:
            raise NoSuchDeadLetter(f"no dead letter {name}") from error

    def _lines_of(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise NoSuchDeadLetter(f"no dead letter {name}")
        return self._directory / f"{name}.ndjson"

    def replay(self, name: str) -> int:
        """Turn a dead letter back into a segment on its way to S3; return its number of payloads.

        Safe to repeat: a replay cut short and done again stores the same object once. One at a
        time: another one, in any process, waits for this one.

        Raises:
            NoSuchDeadLetter, UnreadableDeadLetter: see there.
        """
        lock = lock_directory(self._directory, WAIT)
        if lock is None:
            raise NoSuchDeadLetter(f"no dead letter {name}")
        try:
            return self._replay(name)
        finally:
            lock.release()

    def _replay(self, name: str) -> int:
        dead_letter = self.read(name)
        payloads: int = dead_letter.note["payloads"]
        under_way = self._spool.find(name)
        if under_way is not None and under_way.suffix != ".json":
            self._spool.drop_dead(name)
            return payloads
        header = msgspec.convert(dead_letter.note, Header)
        Decisions(self._spool.root).drop_burial(name)
        give_back(self._spool, header, dead_letter.lines, payloads=payloads)
        self._spool.drop_dead(name)
        with contextlib.suppress(StoreError):
            self._bucket.delete(header.bucket, dead_marker(name))
        return payloads


def give_back(spool: Spool, header: Header, lines: bytes, *, payloads: int) -> None:
    """Make a segment of lines that are dead; any running process uploads it. Blocks on the disk."""
    process_spool = spool.create_process_spool()
    # They were accepted, and dead, elsewhere: here they are dead no more. What a power cut took out
    # of the counters is accepted anew.
    dead = min(payloads, spool.totals()[Field.DEAD])
    process_spool.counters[Field.DEAD] = -dead
    process_spool.counters[Field.ACCEPTED] = payloads - dead
    file = process_spool.new_file(header.name)
    file.append(header, list(_runs(lines)))
    file.sync()
    file.seal(lines=payloads, size=len(lines))
    process_spool.counters[Field.DURABLE] = 1
    process_spool.counters.flush()
    spool.give_to_owner(process_spool)
    process_spool.close()


def _read_note(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    try:
        msgspec.json.decode(content, type=_Note)
    except msgspec.DecodeError as error:
        raise UnreadableDeadLetter(f"{path.stem} has an unknown format: {error}") from error
    note: dict[str, Any] = json.loads(content)
    return note


def _listed(path: Path) -> dict[str, Any]:
    try:
        return _read_note(path)
    except (UnreadableDeadLetter, OSError) as error:
        return {"name": path.stem, "payloads": "?", "reason": f"cannot be read: {error}"}


def _runs(lines: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut lines into runs, with the number of each one's first line: a frame each.

    Frames are read back whole: one for a whole letter would take as much memory in an upload.
    """
    first, start = 1, 0
    while start < len(lines):
        end = lines.find(b"\n", start + RUN_BYTES) + 1 or len(lines)
        yield first, lines[start:end]
        first += lines.count(b"\n", start, end)
        start = end
