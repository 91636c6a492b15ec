"""Segments in the spool as an operator sees them: listed, read, sent elsewhere, or buried.

Nothing here takes a segment from the process that owns it: see `workers.spool.decisions`.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.dispatch.causes import keys_of
from workers.dispatch.jobs import Key
from workers.errors import BucketBrigadeError
from workers.figures.published import read_processes
from workers.segments.naming import NAME, created_microseconds
from workers.segments.segment import Header
from workers.spool.decisions import Decision, Decisions, UnreadableDecision
from workers.spool.frames import UnknownFormat
from workers.spool.segment_file import OPEN, READY, SegmentFile
from workers.spool.spool import Spool

Causes = Mapping[Key, str]


class NoSuchSegment(BucketBrigadeError):
    """There is no such segment that is not stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One segment; `header` is None, and `fault` says why, where its file cannot be read.

    `lines` is how many payloads it has, `age_seconds` the time since its creation, `state` is
    `open` (it may still grow) or `ready`; in a queue there are more. `cause` is the reason for
    which such segments fail now, `decision` what an operator has decided.
    """

    name: str
    header: Header | None
    lines: int
    age_seconds: float
    state: str
    cause: str | None
    decision: str | None
    fault: str | None


class Segments:
    """The segments on the disk of a spool, of all its processes. Methods block on the disk.

    In memory mode they are not there before a stop.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._decisions = Decisions(spool.root)

    def all(self) -> list[Listed]:
        """Return all segments, oldest first."""
        files = sorted(self._files(), key=lambda file: file.path.name)
        processes = read_processes(self._spool.root)
        causes = {cause.key: cause.reason for each in processes for cause in each.causes}
        found = [self._listed(file, causes) for file in files]
        return [listed for listed in found if listed is not None]

    def lines(self, name: str) -> Iterator[bytes]:
        """Yield a segment's lines in runs; where they are damaged, lines are empty.

        Raises:
            NoSuchSegment: see there.
        """
        file = self._file(name)
        try:
            return file.read_damaged(file.survey().lines, [])
        except (OSError, UnknownFormat) as error:
            raise NoSuchSegment(f"segment {name} cannot be read: {error}") from error

    def reroute(self, name: str, *, bucket: str, look: bool) -> None:
        """Decide that a segment goes to another bucket, under its key.

        Where an earlier bucket may hold it already that is looked up before, unless `look` is off.

        Raises:
            NoSuchSegment: see there.
        """
        self._decide(name, bucket=bucket, look=look)

    def bury(self, name: str) -> None:
        """Decide that a segment becomes a dead letter, unless S3 turns out to hold it.

        Raises:
            NoSuchSegment: see there.
        """
        self._decide(name, bucket=None, look=False)

    def _decide(self, name: str, *, bucket: str | None, look: bool) -> None:
        file = self._file(name)
        try:
            header = file.read_header()
        except (OSError, UnknownFormat) as error:
            raise NoSuchSegment(f"segment {name} cannot be read: {error}") from error
        if header is None:
            raise NoSuchSegment(f"segment {name} has no header that can be read")
        earlier = [header.bucket]
        if (before := self._decisions.find(name)) is not None:
            earlier = [*before.earlier, *([before.bucket] if before.bucket else [])]
        self._decisions.write(
            Decision(
                segment=name,
                bucket=bucket,
                earlier=list(dict.fromkeys(earlier)),
                look=look,
                written_at=time.time(),
            )
        )

    def _files(self) -> Iterator[SegmentFile]:
        disk = self._spool.disk
        for directory in self._spool.process_paths():
            for path in map(Path, disk.names(directory)):
                if path.suffix in (OPEN, READY) and NAME.fullmatch(path.stem):
                    yield SegmentFile(directory / path, disk=disk)

    def _file(self, name: str) -> SegmentFile:
        path = self._spool.find(name) if NAME.fullmatch(name) else None
        if path is None:
            raise NoSuchSegment(f"no segment {name} in the spool")
        if path.suffix == ".json":
            raise NoSuchSegment(f"{name} is a dead letter: replay it first")
        return SegmentFile(path, disk=self._spool.disk)

    def _listed(self, file: SegmentFile, causes: Causes) -> Listed | None:
        """Describe one segment; None where it has just been stored, or renamed."""
        name = file.path.stem
        header, lines, fault = None, 0, None
        try:
            header = file.read_header()
            lines = file.inspect().lines
            if header is None:
                fault = "its header cannot be read"
        except FileNotFoundError:
            return self._listed_again(file, causes)
        except (OSError, UnknownFormat) as error:
            fault = f"it cannot be read: {error!r}"
        return Listed(
            name=name,
            header=header,
            lines=lines,
            age_seconds=max(0.0, time.time() - created_microseconds(name) / 1e6),
            state="open" if file.path.suffix == OPEN else "ready",
            cause=cause_of(header, causes),
            decision=self._decision(name),
            fault=fault,
        )

    def _listed_again(self, file: SegmentFile, causes: Causes) -> Listed | None:
        path = self._spool.find(file.path.stem)
        if path is None or path == file.path or path.suffix == ".json":
            return None
        return self._listed(SegmentFile(path, disk=self._spool.disk), causes)

    def _decision(self, name: str) -> str | None:
        try:
            decision = self._decisions.find(name)
        except UnreadableDecision as error:
            return str(error)
        if decision is None:
            return None
        return f"goes to {decision.bucket}" if decision.bucket else "to be buried"


def cause_of(header: Header | None, causes: Causes) -> str | None:
    """Return the reason for which segments such as this one fail now, if they do."""
    if header is None:
        return None
    keys = keys_of(header.bucket, header.stream, is_stored=False)
    return next((causes[key] for key in keys if key in causes), None)
