"""The spool directory of one process start, and the segments in it. Knows no thread and no S3."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from workers.segments.naming import NAME, created_microseconds
from workers.segments.segment import Header, Segment
from workers.spool.counters import Counters, Field, segment_number
from workers.spool.disk import DirectoryLock, Disk
from workers.spool.room import Room
from workers.spool.segment_file import OPEN, READY, SegmentFile

# A file that means nothing.
SCRATCH = ".try"
# What only a running process has.
RUNNING = (
    Field.QUEUE_DEPTH,
    Field.IDLE_WORKERS,
    *(field for field in Field if field.name.startswith("PARKED_")),
)
GAUGES = (
    *RUNNING,
    Field.OLDEST_MICROSECONDS,
    Field.HELD_BYTES,
    Field.WATERMARK_MICROSECONDS,
    Field.UNLOGGED_KEYS,
    Field.SYNC_FAILED,
)


class ProcessSpool:
    """The directory of one process start, held by this process, and the segments in it.

    `hold` and `finish` are quick but for the removal of a file; the rest blocks on the disk.
    """

    def __init__(self, path: Path, *, counters: Counters, lock: DirectoryLock, disk: Disk) -> None:
        self.path = path
        self.counters = counters
        # Recovered files of an adopted directory that are not on their way yet, oldest first.
        self.backlog: deque[SegmentFile] = deque()
        # Files there that cannot be read now, and those that another version wrote.
        self.unread: list[SegmentFile] = []
        self.unknown: list[SegmentFile] = []
        # None is a segment that is parked: only its file is here.
        self._held: dict[str, Segment | None] = {}
        self._directory_lock = lock
        self._disk = disk
        self.room = Room(path, disk=disk)
        self._lock = threading.Lock()

    def count_with(self, counters: Counters) -> None:
        """Count with counters that are in use already: from now on in the file here."""
        counters.move_into(self.counters)
        self.counters = counters

    def new_file(self, name: str) -> SegmentFile:
        """Return the file that segment `name` will have; nothing is on the disk yet."""
        return SegmentFile(self.path / (name + OPEN), disk=self._disk, room=self.room)

    def segment_files(self) -> list[SegmentFile]:
        """Return the files of the segments here, oldest first."""
        names = (Path(name) for name in self._disk.names(self.path))
        return [
            SegmentFile(self.path / name, disk=self._disk)
            for name in names
            if name.suffix in (OPEN, READY) and NAME.fullmatch(name.stem)
        ]

    def hold(self, segment: Segment) -> None:
        """Take note of a segment that is not stored yet."""
        with self._lock:
            self._held[segment.name] = segment
            self.publish_oldest()

    def held(self, name: str) -> Segment | None:
        """Return the segment `name` if it is held here and not stored yet."""
        return self._held.get(name)

    def release(self, segment: Segment) -> None:
        """Undo `hold`; the segment's file stays."""
        with self._lock:
            self._held.pop(segment.name, None)

    def park(self, segment: Segment) -> bool:
        """Keep only a segment's name. False where it has no ready file to come back from."""
        if not isinstance(segment.body, SegmentFile) or segment.body.path.suffix != READY:
            return False
        with self._lock:
            self._held[segment.name] = None
        return True

    def load(self, name: str) -> Segment:
        """Hold a parked segment again. Blocks on the disk and may raise `OSError`."""
        segment = load_segment(SegmentFile(self.path / (name + READY), disk=self._disk))
        self.hold(segment)
        return segment

    def keep(self, segment: Segment) -> None:
        """Write a frozen segment's lines from memory into a ready file, unless they are stored.

        The caller syncs the directory, once for all.
        """
        with self._lock:
            if segment.name in self._held and not isinstance(segment.body, SegmentFile):
                file = self.new_file(segment.name)
                try:
                    file.append(segment.header, list(_numbered(segment.body.read())))
                    file.seal(lines=segment.lines, size=segment.size)
                except OSError:
                    file.discard()
                    raise
                segment.body = file

    def finish(self, segment: Segment, *, stored: int = 0, dead: int = 0) -> None:
        """Remove a segment and count what became of its lines; atomic with respect to SIGKILL."""
        with self._lock:
            self.counters.begin_finish(segment_number(segment.name), stored=stored, dead=dead)
            segment.body.discard()
            self.counters.end_finish()
            self.counters.add(Field.HELD_BYTES, -segment.held_bytes)
            self._held.pop(segment.name, None)
            self.publish_oldest()

    def try_write(self) -> None:
        """Write a small file here and remove it. Raises `OSError` where that fails."""
        path = self.path / SCRATCH
        self._disk.unlink(path)
        file = self._disk.create(path)
        try:
            self._disk.write_at(file, [b"try"], 0)
        finally:
            self._disk.close(file)
            self._disk.unlink(path)

    def sync_all(self) -> None:
        """Make every segment file here survive a power cut, in one call for any number of them."""
        # The lock's descriptor is as old as the directory: no failure comes before it.
        self._disk.sync_everything(self._directory_lock.descriptor)

    def add_backlog(self, file: SegmentFile) -> None:
        """Put a recovered file behind those that wait."""
        with self._lock:
            self.backlog.append(file)

    def advance(self) -> None:
        """Drop the first file of the backlog: it is held now, or finished."""
        with self._lock:
            self.backlog.popleft()
            self.publish_oldest()

    def unfinished(self) -> list[Segment]:
        """Return the segments held here that are not parked, oldest first."""
        with self._lock:
            return [segment for segment in self._held.values() if segment is not None]

    @property
    def empty(self) -> bool:
        """Whether everything that was ever here is stored or dead."""
        return not (self._held or self.backlog or self.unread or self.unknown)

    @property
    def stuck(self) -> bool:
        """Whether all that is left here are files of an unknown format."""
        return bool(self.unknown) and not (self._held or self.backlog or self.unread)

    def close(self) -> None:
        """Give the directory up; the next process that locks it owns it.

        The counters stay mapped: a late request may still want to count itself.
        """
        self.reset_gauges()
        self.leave()

    def leave(self) -> None:
        """Give the directory up as it is."""
        self._directory_lock.release()

    def reset_gauges(self) -> None:
        """Zero what only a running process has."""
        for field in RUNNING:
            self.counters[field] = 0

    def publish_watermark(self, opened_from: int) -> None:
        """Write up to when all that was created here is stored or dead to the counters.

        `opened_from`: nothing that is created from now on is older; microseconds since 1970. Goes
        through all that waits here.
        """
        with self._lock:
            names = list(self._held)
            files = [*self.backlog, *self.unread, *self.unknown]
        # Names sort by time. With a clock that was set back the first held is not the oldest.
        oldest = min([*names, *(file.path.stem for file in files)], default=None)
        created = opened_from if oldest is None else created_microseconds(oldest)
        self.counters[Field.WATERMARK_MICROSECONDS] = min(opened_from, created)

    def publish_oldest(self) -> None:
        """Write the creation of the oldest unstored segment to the counters.

        Of those held it is the one that was held first. A name from the future, made by a clock
        that was set back since, does not make a segment younger than this process knows it to be.
        """
        waiting = [*self.unread, *self.unknown, *([self.backlog[0]] if self.backlog else [])]
        moments = [created_microseconds(file.path.stem) for file in waiting]
        name, first = next(iter(self._held.items()), (None, None))
        if name is not None:
            # Of a parked one only the name is here.
            age = 0.0 if first is None else time.monotonic() - first.created_at
            known = time.time_ns() // 1000 - int(age * 1e6)
            moments.append(min(created_microseconds(name), known))
        self.counters[Field.OLDEST_MICROSECONDS] = min(moments, default=0)


def load_segment(file: SegmentFile) -> Segment:
    """Make the sealed segment of a recovered file; without a key where its header is unreadable."""
    seal, header = file.read_seal(), file.read_header()
    if seal is None or header is None:
        survey = file.survey()
        seal = seal or (survey.lines, survey.size)
    unreadable = Header(name=file.path.stem, stream="", bucket="", key="", compression="none")
    segment = Segment(header or unreadable, file)
    segment.lines, segment.size = seal
    segment.held_bytes = file.held_bytes(segment.size)
    segment.sealed = True
    segment.frozen.set()
    return segment


def _numbered(runs: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield runs with the number of their first line: a frame each, read back one at a time."""
    first = 1
    for run in runs:
        yield first, run
        first += run.count(b"\n")
