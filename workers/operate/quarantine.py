"""Damaged segment files: listed, read, and replayed once they can be read whole again.

A file that was read wrongly, by a bad disk or controller, may be whole the next time; or an
operator has mended it, or put an older copy in its place. What was lost of it then goes to S3.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from workers.errors import BucketBrigadeError, ObjectMissing
from workers.operate.dead_letters import give_back
from workers.segments.naming import NAME
from workers.segments.segment import Header
from workers.spool.decisions import Decisions
from workers.spool.disk import WAIT, lock_directory
from workers.spool.frames import Damaged, UnknownFormat
from workers.spool.segment_file import OPEN, READY, SegmentFile
from workers.spool.spool import QUARANTINE, Spool
from workers.spool.survey import NO_HEADER, NO_LINES
from workers.upload.decided import Decided
from workers.upload.reading import decompress
from workers.upload.s3 import Bucket, Stored


class NotInQuarantine(BucketBrigadeError):
    """There is no damaged file of that name."""


class StillDamaged(BucketBrigadeError):
    """A file cannot be replayed, and stays as it is; says why."""


class Quarantine:
    """The damaged files of a spool. Methods block on the disk, a replay on S3 too."""

    def __init__(self, spool: Spool, *, bucket: Bucket) -> None:
        self._spool = spool
        self._bucket = bucket
        self._directory = spool.root / QUARANTINE

    def all(self) -> list[dict[str, Any]]:
        """Return all notes, oldest first; one that cannot be read has that as its reason."""
        return [self._note(path) for path in sorted(self._directory.glob("*.json"))]

    def lines(self, name: str) -> Iterator[bytes]:
        """Yield what can be read of a file now, with empty lines for those that cannot.

        Raises:
            NotInQuarantine: see there.
        """
        return self._file(name).read_damaged(0, [])

    def replay_bytes(self, name: str) -> int:
        """Return how many bytes a replay reads into memory, about.

        Raises:
            NotInQuarantine: see there.
        """
        return self._file(name).path.stat().st_size

    def replay(self, name: str) -> int:
        """Give the lines that were lost to the service, and drop the file; return how many.

        A line goes only where its object has none. Safe to repeat.

        Raises:
            NotInQuarantine, StillDamaged: see there.
            StoreUnavailable: S3 cannot say which lines it has.
        """
        lock = lock_directory(self._directory, WAIT)
        if lock is None:
            raise NotInQuarantine(f"{name} is not in quarantine")
        try:
            return self._replay(name)
        finally:
            lock.release()

    def _replay(self, name: str) -> int:
        file = self._file(name)
        found = self._spool.find(name)
        if found is not None and found.suffix != ".json":
            raise StillDamaged("its segment is on its way to S3 still")
        header, lines = _whole(file)
        was_lost = self._lost(header, lines, reason=str(self._note(_note_of(file))["reason"]))
        count = len(was_lost)
        if count and count < len(lines):
            # The object has the others, and stays as it is.
            header = _renamed(header)
        if count and not self._is_replayed(header):
            data = b"".join(lines[number] + b"\n" for number in was_lost)
            give_back(self._spool, header, data, payloads=count)
        _note_of(file).unlink(missing_ok=True)
        file.path.unlink()
        return count

    def _lost(self, header: Header, lines: list[bytes], *, reason: str) -> list[int]:
        """Return the indexes of the lines that the object does not have."""
        decided = Decided(self._bucket, Decisions(self._spool.root)).bucket_for(header)
        bucket = decided or header.bucket
        try:
            stored = self._bucket.head(bucket, header.key)
        except ObjectMissing as error:
            # It may have been there, and removed since.
            if reason not in (NO_HEADER, NO_LINES):
                raise StillDamaged("its object is gone: what that had of it is unknown") from error
            return list(range(len(lines)))
        if stored.metadata.get("segment") != header.name:
            raise StillDamaged("another object has its key")
        if "lost-lines" not in stored.metadata:
            return []
        accepted = stored.metadata.get("payloads", "")
        if accepted.isdecimal() and int(accepted) > len(lines):
            raise StillDamaged(f"it has {len(lines)} lines of {accepted}")
        body, _ = self._bucket.get(bucket, header.key)
        there = decompress(body).split(b"\n")
        missing = [b""] * (len(lines) - len(there))
        own = lines + [b""] * (len(there) - len(lines))
        pairs = list(zip(there + missing, own, strict=True))
        if any(line not in (b"", mine) for line, mine in pairs):
            raise StillDamaged("its object has other lines")
        return [number for number, (line, mine) in enumerate(pairs) if mine and not line]

    def _is_replayed(self, header: Header) -> bool:
        """Whether its lines are on their way already, dead, or there, from a replay cut short."""
        if self._spool.find(header.name) is not None:
            return True
        try:
            found: Stored = self._bucket.head(header.bucket, header.key)
        except ObjectMissing:
            return False
        return found.metadata.get("segment") == header.name

    def _file(self, name: str) -> SegmentFile:
        if NAME.fullmatch(name):
            for path in (self._directory / (name + ending) for ending in (OPEN, READY)):
                if path.exists():
                    return SegmentFile(path, disk=self._spool.disk)
        raise NotInQuarantine(f"{name} is not in quarantine")

    def _note(self, path: Path) -> dict[str, Any]:
        try:
            note: dict[str, Any] = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            return {"segment": path.stem, "reason": f"its note cannot be read: {error}"}
        return {"segment": path.stem, "reason": "?", **note}


def _note_of(file: SegmentFile) -> Path:
    return file.path.with_suffix(".json")


def _whole(file: SegmentFile) -> tuple[Header, list[bytes]]:
    """Return the header and lines of a file that is damaged no more.

    Raises:
        StillDamaged: it is.
    """
    try:
        header = file.read_header()
        if header is None:
            raise StillDamaged("its header cannot be read, so where it belongs is unknown")
        file.read_seal()
        content = b"".join(_runs(file))
    except (Damaged, UnknownFormat) as error:
        raise StillDamaged(f"it cannot be read whole: {error}") from error
    except OSError as error:
        raise StillDamaged(f"it cannot be read: {error.strerror}") from error
    return header, content.split(b"\n")[:-1]


def _runs(file: SegmentFile) -> Iterator[bytes]:
    """Yield every frame's lines; an open file that was frozen as it was ends in zeros.

    Raises:
        Damaged, UnknownFormat: see `SegmentFile.read`.
    """
    try:
        yield from file.read()
    except Damaged as damage:
        if damage.tail != "blank":
            raise


def _renamed(header: Header) -> Header:
    """Return a header for the lines that were lost: the same place, a name made of the first."""
    digest = hashlib.blake2b(header.name.encode(), digest_size=8).hexdigest()
    name = f"{header.name.partition('-')[0]}-{digest}"
    return msgspec.structs.replace(header, name=name, key=header.key.replace(header.name, name))
