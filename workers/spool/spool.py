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
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from workers.errors import SpoolError
from workers.segments.segment import Header
from workers.spool.counters import CELLS, Counters, Totals
from workers.spool.disk import Disk, try_lock
from workers.spool.process_spool import GAUGES, ProcessSpool
from workers.spool.segment_file import OPEN, READY, SegmentFile

log = logging.getLogger(__name__)

DEAD, QUARANTINE, TEMPORARY = "dead", "quarantine", ".tmp-"


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

    def create_process_spool(self) -> ProcessSpool:
        """Make a home for this process start, locked from its first moment on."""
        name = uuid.uuid4().hex
        building, path = self.root / (TEMPORARY + name), self.root / name
        with self._root_lock(fcntl.LOCK_EX):
            building.mkdir(mode=0o750)
            lock = try_lock(building / "lock")
            assert lock is not None, "nobody else knows this name yet"
            Counters.create(building / "ledger").close()
            self.disk.sync_directory(building)
            self.disk.rename(building, path)
            self.disk.sync_directory(self.root)
        return ProcessSpool(path, lock=lock, disk=self.disk)

    def adopt_orphans(self) -> Iterator[ProcessSpool]:
        """Yield the homes whose process is gone; from then on they are this process's."""
        with self._root_lock(fcntl.LOCK_EX):
            # What a crash left of a home in the making holds nothing.
            for path in self.root.glob(TEMPORARY + "*"):
                shutil.rmtree(path, ignore_errors=True)
        for path in self._process_spool_paths():
            process_spool = self._adopt(path)
            if process_spool is not None:
                yield process_spool

    def _adopt(self, path: Path) -> ProcessSpool | None:
        # Under the root lock: a home that is being retired must not be adopted, nor come back.
        with self._root_lock(fcntl.LOCK_EX):
            if not path.exists() or path.name == self._retired()["last"]:
                return None
            lock = try_lock(path / "lock")
            if lock is None:
                return None
            try:
                return ProcessSpool(path, lock=lock, disk=self.disk)
            except OSError:
                os.close(lock)
                log.exception("a home cannot be adopted", extra={"home": path.name})
                return None

    def retire(self, process_spool: ProcessSpool) -> None:
        """Add an empty home's counters to the totals and remove it. Right after any crash."""
        if process_spool.segment_files():
            log.error(
                "a home to retire has segments; it stays", extra={"home": process_spool.path.name}
            )
            process_spool.close()
            return
        with self._root_lock(fcntl.LOCK_EX):
            retired = self._retired()
            # The one before was counted; a crash may have left its directory.
            shutil.rmtree(self.root / retired["last"], ignore_errors=True)
            cells = process_spool.counters.snapshot()
            for gauge in GAUGES:
                cells[gauge] = 0
            summed = [a + b for a, b in zip(retired["cells"], cells, strict=True)]
            self._write(
                self.root / "retired.json", {"last": process_spool.path.name, "cells": summed}
            )
            shutil.rmtree(process_spool.path, ignore_errors=True)
        process_spool.close()

    def totals(self) -> Totals:
        """Add up the whole service: every process, living and dead, since the spool was new."""
        with self._root_lock(fcntl.LOCK_SH):
            retired = self._retired()
            cells = [retired["cells"]]
            for path in self._process_spool_paths():
                if path.name != retired["last"]:
                    counters = Counters.open(path / "ledger")
                    cells.append(counters.snapshot())
                    counters.close()
        return Totals(cells)

    def find(self, name: str) -> Path | None:
        """Return the file of segment `name`, dead letters included, or None."""
        process_spools = self._process_spool_paths()
        candidates = [
            process_spool / (name + suffix)
            for suffix in (OPEN, READY)
            for process_spool in process_spools
        ]
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

    def quarantine(self, file: SegmentFile, *, reason: str) -> None:
        """Keep a damaged segment file as it is, with the reason beside it, for a person."""
        kept = self.root / QUARANTINE / file.path.name
        shutil.copyfile(file.path, kept)
        copy = self.disk.reopen(kept)
        self.disk.sync(copy)
        self.disk.close(copy)
        self._write(kept.with_suffix(".json"), {"segment": file.path.stem, "reason": reason})
        self.disk.sync_directory(kept.parent)

    def _process_spool_paths(self) -> list[Path]:
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
