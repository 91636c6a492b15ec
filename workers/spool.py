"""The spool directory: a home for each process start, and what the dead have left behind.

    SPOOL_DIR/
      lock, retired.json          totals of the homes that are gone
      <home>/lock, ledger         owned (flock) by the process that made or adopted it
      <home>/<segment>.open       may still grow
      <home>/<segment>.ready      frozen, on its way to S3
      dead/<segment>.ndjson,.json payloads that S3 refuses, and why
      quarantine/<segment>.*      files with damage in them, kept as they were

Knows files and the ledger, no thread, no S3.
"""

import contextlib
import fcntl
import json
import logging
import os
import shutil
import threading
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from workers.disk import Disk, try_lock
from workers.errors import SpoolError
from workers.keys import NAME, created_microseconds
from workers.ledger import CELLS, Board, Field, Totals, segment_number
from workers.segment import Header, Segment
from workers.spoolfile import OPEN, READY, SpoolFile

log = logging.getLogger(__name__)

DEAD, QUARANTINE, TEMPORARY = "dead", "quarantine", ".tmp-"
GAUGES = (Field.QUEUE_DEPTH, Field.IDLE_WORKERS, Field.OLDEST_MICROSECONDS, Field.HELD_BYTES)


class Home:
    """The directory of one process start, held by this process, and the segments in it.

    `hold` and `finish` are quick but for the removal of a file; the rest blocks on the disk.
    """

    def __init__(self, path: Path, *, lock: int, disk: Disk) -> None:
        self.path = path
        self.board = Board.open(path / "ledger")
        # Files found in an adopted home that have not been looked at yet, oldest first.
        self.backlog: deque[SpoolFile] = deque()
        self._held: dict[str, Segment] = {}
        self._lock_file = lock
        self._disk = disk
        self._lock = threading.Lock()

    def new_file(self, name: str) -> SpoolFile:
        """Return the file that segment `name` will have; nothing is on the disk yet."""
        return SpoolFile(self.path / (name + OPEN), disk=self._disk)

    def segment_files(self) -> list[SpoolFile]:
        """Return the files of the segments here, oldest first."""
        names = (Path(name) for name in self._disk.names(self.path))
        return [
            SpoolFile(self.path / name, disk=self._disk)
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
        """Forget a segment again that `hold` was told of; its file stays."""
        with self._lock:
            self._held.pop(segment.name, None)

    def keep(self, segment: Segment) -> None:
        """Write a frozen segment's lines from memory into a ready file, unless they are stored.

        The caller syncs the directory, once for all.
        """
        with self._lock:
            if segment.name in self._held and not isinstance(segment.body, SpoolFile):
                file = self.new_file(segment.name)
                try:
                    file.append(segment.header, [(1, b"".join(segment.body.read()))])
                    file.seal(lines=segment.lines, size=segment.size)
                except OSError:
                    file.discard()
                    raise
                segment.body = file

    def finish(self, segment: Segment, *, stored: int = 0, dead: int = 0) -> None:
        """Let go of a segment and count what became of its lines, in one step for a kill."""
        with self._lock:
            self.board.begin_finish(segment_number(segment.name), stored=stored, dead=dead)
            segment.body.discard()
            self.board.end_finish()
            self.board.add(Field.HELD_BYTES, -segment.held_bytes)
            self._held.pop(segment.name, None)
            self.publish_oldest()

    def sync_all(self) -> None:
        """Make every segment file here survive a power cut, in one call whatever their number."""
        # The descriptor of the lock is as old as the home: no failure comes before it.
        self._disk.sync_everything(self._lock_file)

    def advance(self) -> None:
        """Drop the first file of the backlog: it is held now, or finished."""
        with self._lock:
            self.backlog.popleft()
            self.publish_oldest()

    def unfinished(self) -> list[Segment]:
        """Return the segments held here, oldest first."""
        with self._lock:
            return list(self._held.values())

    @property
    def empty(self) -> bool:
        """Whether everything that was ever here is stored or dead."""
        return not self._held and not self.backlog

    def close(self) -> None:
        """Give the directory up; whoever takes its lock next owns it.

        The board stays mapped: a late request may still want to count itself.
        """
        self.still_gauges()
        os.close(self._lock_file)

    def still_gauges(self) -> None:
        """Zero what only a running process has."""
        self.board[Field.QUEUE_DEPTH] = 0
        self.board[Field.IDLE_WORKERS] = 0

    def publish_oldest(self) -> None:
        """Write the oldest unstored segment's creation to the board."""
        names = [next(iter(self._held), None), self.backlog[0].path.stem if self.backlog else None]
        oldest = min((name for name in names if name), default=None)
        moment = created_microseconds(oldest) if oldest else 0
        self.board[Field.OLDEST_MICROSECONDS] = moment


class Spool:
    """The spool directory as a whole. Methods block on the disk."""

    def __init__(self, root: Path, *, disk: Disk | None = None) -> None:
        self.root = root
        self.disk = disk or Disk()

    def prepare(self) -> None:
        """Make the directory and see that it can be used.

        Raises:
            SpoolError: it cannot be made, written, synced or locked; says which and why.
        """
        try:
            for path in (self.root, self.root / DEAD, self.root / QUARANTINE):
                path.mkdir(mode=0o750, parents=True, exist_ok=True)
            with self._root_lock(fcntl.LOCK_EX):
                self.disk.sync_directory(self.root)
        except OSError as error:
            why = error.strerror or str(error)
            raise SpoolError(f"SPOOL_DIR {self.root} cannot be used: {why}") from error

    def make_home(self) -> Home:
        """Make a home for this process start, locked from its first moment on."""
        name = uuid.uuid4().hex
        building, path = self.root / (TEMPORARY + name), self.root / name
        with self._root_lock(fcntl.LOCK_EX):
            building.mkdir(mode=0o750)
            lock = try_lock(building / "lock")
            assert lock is not None, "nobody else knows this name yet"
            Board.create(building / "ledger").close()
            self.disk.sync_directory(building)
            self.disk.rename(building, path)
            self.disk.sync_directory(self.root)
        return Home(path, lock=lock, disk=self.disk)

    def adopt_homes(self) -> Iterator[Home]:
        """Yield the homes whose process is gone; from then on they are this process's."""
        with self._root_lock(fcntl.LOCK_EX):
            # What a crash left of a home in the making holds nothing.
            for path in self.root.glob(TEMPORARY + "*"):
                shutil.rmtree(path, ignore_errors=True)
        for path in self._home_paths():
            home = self._adopt(path)
            if home is not None:
                yield home

    def _adopt(self, path: Path) -> Home | None:
        # Under the root lock: a home that is being retired must not be adopted, nor come back.
        with self._root_lock(fcntl.LOCK_EX):
            if not path.exists() or path.name == self._retired()["last"]:
                return None
            lock = try_lock(path / "lock")
            if lock is None:
                return None
            try:
                return Home(path, lock=lock, disk=self.disk)
            except OSError:
                os.close(lock)
                log.exception("a home cannot be adopted", extra={"home": path.name})
                return None

    def retire(self, home: Home) -> None:
        """Add an empty home's counters to the totals and remove it. Right after any crash."""
        if home.segment_files():
            log.error("a home to retire has segments; it stays", extra={"home": home.path.name})
            home.close()
            return
        with self._root_lock(fcntl.LOCK_EX):
            retired = self._retired()
            # The one before was counted; a crash may have left its directory.
            shutil.rmtree(self.root / retired["last"], ignore_errors=True)
            cells = home.board.snapshot()
            for gauge in GAUGES:
                cells[gauge] = 0
            summed = [a + b for a, b in zip(retired["cells"], cells, strict=True)]
            self._write(self.root / "retired.json", {"last": home.path.name, "cells": summed})
            shutil.rmtree(home.path, ignore_errors=True)
        home.close()

    def totals(self) -> Totals:
        """Add up the whole service: every process, living and dead, since the spool was new."""
        with self._root_lock(fcntl.LOCK_SH):
            retired = self._retired()
            cells = [retired["cells"]]
            for path in self._home_paths():
                if path.name != retired["last"]:
                    board = Board.open(path / "ledger")
                    cells.append(board.snapshot())
                    board.close()
        return Totals(cells)

    def find(self, name: str) -> Path | None:
        """Return the file of segment `name`, dead letters included, or None."""
        homes = self._home_paths()
        candidates = [home / (name + suffix) for suffix in (OPEN, READY) for home in homes]
        candidates.append(self.root / DEAD / f"{name}.json")
        return next((path for path in candidates if path.exists()), None)

    def keep_dead(
        self, header: Header, runs: Iterable[bytes], *, reason: str, payloads: int
    ) -> None:
        """Write a segment's lines as a dead letter: a file to read, and its reason beside it."""
        lines = self.root / DEAD / f"{header.name}.ndjson"
        with lines.open("wb") as file:
            file.writelines(runs)
            file.flush()
            os.fsync(file.fileno())
        note = {**msgspec.to_builtins(header), "reason": reason, "payloads": payloads}
        self._write(lines.with_suffix(".json"), note)
        self.disk.sync_directory(lines.parent)

    def drop_dead(self, name: str) -> None:
        """Remove the letter of a segment that is stored after all: a crash can leave both."""
        note = self.root / DEAD / f"{name}.json"
        if note.exists():
            note.unlink()
            note.with_suffix(".ndjson").unlink(missing_ok=True)

    def quarantine(self, file: SpoolFile, *, reason: str) -> None:
        """Keep a damaged segment file as it is, with the reason beside it, for a person."""
        kept = self.root / QUARANTINE / file.path.name
        shutil.copyfile(file.path, kept)
        copy = self.disk.reopen(kept)
        self.disk.sync(copy)
        self.disk.close(copy)
        self._write(kept.with_suffix(".json"), {"segment": file.path.stem, "reason": reason})
        self.disk.sync_directory(kept.parent)

    def _home_paths(self) -> list[Path]:
        names = (name for name in self.disk.names(self.root) if len(name) == 32)
        return [self.root / name for name in names]

    def _retired(self) -> dict[str, Any]:
        try:
            retired: dict[str, Any] = json.loads((self.root / "retired.json").read_bytes())
        except FileNotFoundError:
            return {"last": "-", "cells": [0] * CELLS}
        return retired

    def _write(self, path: Path, document: dict[str, Any]) -> None:
        """Replace a JSON document so that a reader, or a crash, sees the old one or the new one."""
        new = path.with_suffix(".new")
        with new.open("w") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    @contextlib.contextmanager
    def _root_lock(self, kind: int) -> Iterator[None]:
        file = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(file, kind)
            yield
        finally:
            os.close(file)


def reconcile(board: Board, *, found: int, numbers: frozenset[int], damaged: bool) -> int:
    """Make a dead process's ledger agree with what its home holds: `found` payloads.

    A frame written but not yet counted was accepted. What is missing was lost with the memory of a
    process in memory mode, or to damage: it is dead, for it never will be stored.

    Returns:
        How many payloads were lost.
    """
    board.redo(still_there=numbers)
    missing = board.pending - found
    lost = 0
    if missing < 0:
        board.add(Field.ACCEPTED, -missing)
    elif missing and board[Field.DURABLE] and not damaged:
        # Only a power cut takes counters back; an undamaged file goes only once it is stored.
        board.add(Field.STORED, missing)
    elif missing:
        lost = missing
        board.add(Field.DEAD, lost)
    # Whatever the process was: all that pends now is in files.
    board[Field.DURABLE] = 1
    board.flush()
    return lost
