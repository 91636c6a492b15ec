"""The spool directory: a directory for each process start, and what dead processes left.

    SPOOL_DIR/
      lock, retired.json          sums of the counters of the directories that are gone
      <32 hex digits>/            a process spool: locked by the process that made or adopted it
        lock, ledger              for older versions; its counters
        <segment>.open            may still grow
        <segment>.ready           frozen, on its way to S3
      dead/<segment>.ndjson,.json payloads that S3 refuses, and why
      quarantine/<segment>.*      files with damage in them, kept as they were
      decisions/<segment>.json    where an operator sends a segment (workers/spool/decisions.py)

What another version wrote in a format unknown here is left as it is. Knows files and counters, no
thread, no S3.
"""

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from workers.errors import SpoolError
from workers.segments.segment import Header
from workers.spool.counters import Counters, Field, Totals, UnknownCounters
from workers.spool.disk import Disk, lock_directory
from workers.spool.documents import (
    Retired,
    create_file,
    give_to,
    make_directory,
    read_retired,
    write_document,
)
from workers.spool.process_spool import GAUGES, SCRATCH, ProcessSpool
from workers.spool.room import doubts
from workers.spool.segment_file import OPEN, READY, SegmentFile

log = logging.getLogger(__name__)

# What a disk does that is full, fails, or was remounted; anything else is a wrong setting.
MAY_PASS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE}
)
DEAD, QUARANTINE, TEMPORARY, RETIRED = "dead", "quarantine", ".tmp-", "retired.json"


class Spool:
    """The spool directory as a whole. Methods block on the disk."""

    def __init__(self, root: Path, *, disk: Disk | None = None) -> None:
        self.root = root
        self.disk = disk or Disk()
        # Entries that were reported as unreadable.
        self._passed_over: set[str] = set()

    def prepare(self, *, owner: tuple[int, int] | None = None) -> None:
        """Make the directory and see that it can be used; give it to `owner` (user, group).

        Raises:
            SpoolError: it cannot be made, written, synced or locked; says which and why.
        """
        try:
            make_directory(self.root)
            is_new = not os.listdir(self.root)
            is_ours = is_new or (self.root / DEAD).exists()
            for name in (DEAD, QUARANTINE):
                make_directory(self.root / name)
            if is_new:
                create_file(self.root / "lock").close()
            if owner is not None and is_ours:
                names = (DEAD, QUARANTINE, "lock")
                give_to((self.root, *(self.root / name for name in names)), owner)
            with self._root_lock(fcntl.LOCK_EX):
                self.disk.sync_directory(self.root)
        except OSError as error:
            why = error.strerror or str(error)
            may_pass = error.errno in MAY_PASS
            what = f"SPOOL_DIR {self.root} cannot be used: {why}"
            raise SpoolError(what, may_pass=may_pass) from error

    def give_to_owner(self, process_spool: ProcessSpool) -> None:
        """Give what a command run as root has made to the spool's owner, who has to read it."""
        if os.geteuid() == 0:
            owner = self.root.stat()
            paths = (process_spool.path, *process_spool.path.iterdir())
            give_to(paths, (owner.st_uid, owner.st_gid))

    def create_process_spool(self) -> ProcessSpool:
        """Make a directory for this process start, locked from its first moment on."""
        name = uuid.uuid4().hex
        building, path = self.root / (TEMPORARY + name), self.root / name
        with self._root_lock(fcntl.LOCK_EX):
            make_directory(building)
            lock = lock_directory(building)
            assert lock is not None, "no other process knows this name yet"
            try:
                lock.add_file(building / "lock")
                counters = Counters.create(building / "ledger")
                counters.boot = self.disk.boot_id()
                counters.flush()
                self.disk.sync_directory(building)
                self.disk.rename(building, path)
                self.disk.sync_directory(self.root)
            except OSError:
                lock.release()
                shutil.rmtree(building, ignore_errors=True)
                raise
        return ProcessSpool(path, counters=counters, lock=lock, disk=self.disk)

    def adopt_orphans(self) -> Iterator[ProcessSpool]:
        """Yield the directories whose process is gone; from then on they are this process's.

        What cannot be locked or read, and what another version wrote, stays as it is.
        """
        with self._root_lock(fcntl.LOCK_EX):
            # What a crash left of a directory in the making holds nothing.
            for path in self.root.glob(TEMPORARY + "*"):
                shutil.rmtree(path, ignore_errors=True)
        for path in self.process_paths():
            process_spool = self._adopt(path)
            if process_spool is not None:
                yield process_spool

    def _adopt(self, path: Path) -> ProcessSpool | None:
        # Under the root lock: one that is being retired must not be adopted, nor come back.
        with self._root_lock(fcntl.LOCK_EX):
            retired = self._retired()
            if retired is not None and path.name == retired.last:
                return None
            try:
                lock = lock_directory(path)
            except OSError as error:
                self._pass_over(path.name, error)
                return None
            if lock is None:
                return None
            try:
                counters = Counters.open(path / "ledger")
            except (OSError, UnknownCounters) as error:
                lock.release()
                self._pass_over(path.name, error)
                return None
            return ProcessSpool(path, counters=counters, lock=lock, disk=self.disk)

    def retire(self, process_spool: ProcessSpool) -> None:
        """Add an empty directory's counters to the sums and remove it. Right after any crash.

        Where that cannot be done the directory stays, for the next start to try.
        """
        name = process_spool.path.name
        if process_spool.segment_files():
            log.error("a home to retire has segments; it stays", extra={"home": name})
            process_spool.close()
            return
        if strange := set(self.disk.names(process_spool.path)) - {"lock", "ledger", SCRATCH}:
            self._pass_over(name, UnknownCounters(f"it holds {min(strange)}, of an unknown kind"))
            process_spool.close()
            return
        with self._root_lock(fcntl.LOCK_EX):
            retired = self._retired()
            if retired is not None:
                self._add_up(retired, process_spool)
        process_spool.close()

    def _add_up(self, retired: Retired, process_spool: ProcessSpool) -> None:
        # The one before was counted; a crash may have left its directory.
        shutil.rmtree(self.root / retired.last, ignore_errors=True)
        cells = process_spool.counters.snapshot()
        for gauge in GAUGES:
            cells[gauge] = 0
        summed = [a + b for a, b in zip(retired.cells, cells, strict=True)]
        document = {"last": process_spool.path.name, "cells": summed}
        try:
            write_document(self.root / RETIRED, document)
        except OSError as error:
            about = {"home": process_spool.path.name, "error": str(error)}
            log.warning("a home cannot be retired now; it stays", extra=about)
        else:
            shutil.rmtree(process_spool.path, ignore_errors=True)

    def totals(self) -> Totals:
        """Add up the whole service: every process, living and dead, since the spool was new.

        An entry that cannot be read is left out, and counted as such.
        """
        cells: list[list[int]] = []
        unreadable = 0
        with self._root_lock(fcntl.LOCK_SH):
            retired = self._retired()
            if retired is None:
                unreadable += 1
            else:
                cells.append(retired.cells)
            for path in self.process_paths():
                if retired is None or path.name != retired.last:
                    try:
                        cells.append(Counters.read(path / "ledger"))
                    except (OSError, UnknownCounters) as error:
                        self._pass_over(path.name, error)
                        unreadable += 1
        return Totals(cells, unreadable=unreadable)

    def doubts(self, *, max_bytes: int) -> list[str]:
        """Say what speaks against the directory's file system; see `workers.spool.room`."""
        held = self.totals()[Field.HELD_BYTES]
        return doubts(self.root, disk=self.disk, held=held, max_bytes=max_bytes)

    def _pass_over(self, name: str, error: Exception) -> None:
        """Say once in this process that an entry of the spool is left as it is, and why."""
        if name in self._passed_over:
            return
        self._passed_over.add(name)
        level = logging.WARNING if isinstance(error, OSError) else logging.CRITICAL
        about = {"entry": name, "error": str(error)}
        log.log(level, "an entry of the spool cannot be read; it stays", extra=about)

    def find(self, name: str) -> Path | None:
        """Return the file of segment `name`, dead letters included, or None."""
        process_spools = self.process_paths()
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
        with create_file(lines) as file:
            file.writelines(runs)
            file.flush()
            os.fsync(file.fileno())
        note = {**msgspec.to_builtins(header), "reason": reason, "payloads": payloads}
        write_document(lines.with_suffix(".json"), note)
        self.disk.sync_directory(lines.parent)

    def drop_dead(self, name: str) -> None:
        """Remove the letter of a segment that is stored after all: a crash can leave both."""
        note = self.root / DEAD / f"{name}.json"
        if note.exists():
            note.unlink()
            note.with_suffix(".ndjson").unlink(missing_ok=True)

    def quarantine(self, file: SegmentFile, *, reason: str) -> None:
        """Keep a frozen, damaged segment file, by a second name, and the reason beside it."""
        kept = self.root / QUARANTINE / file.path.name
        if kept.exists() and kept.samefile(file.path) and kept.with_suffix(".json").exists():
            return
        kept.unlink(missing_ok=True)
        os.link(file.path, kept)
        self._note(kept, reason=reason)

    def set_aside(self, file: SegmentFile, *, reason: str) -> None:
        """Move a segment file that cannot be read into quarantine."""
        kept = self.root / QUARANTINE / file.path.name
        self.disk.rename(file.path, kept)
        self._note(kept, reason=reason)

    def _note(self, kept: Path, *, reason: str) -> None:
        note = {"segment": kept.stem, "reason": reason}
        try:
            write_document(kept.with_suffix(".json"), note)
        except OSError as error:
            log.warning("no room for a note in quarantine", extra={**note, "error": str(error)})
        self.disk.sync_directory(kept.parent)

    def process_paths(self) -> list[Path]:
        """Return the directories of all process starts that are here, sorted."""
        names = (name for name in self.disk.names(self.root) if len(name) == 32)
        return [self.root / name for name in names]

    def _retired(self) -> Retired | None:
        """Return the sums of what is gone; None where this version cannot read them."""
        try:
            return read_retired(self.root / RETIRED)
        except (OSError, msgspec.DecodeError) as error:
            self._pass_over(RETIRED, error)
            return None

    @contextlib.contextmanager
    def _root_lock(self, kind: int) -> Iterator[None]:
        lock = lock_directory(self.root, kind)
        if lock is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.root))
        try:
            yield
        finally:
            lock.release()
