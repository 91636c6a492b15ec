"""The files of `key_usage` in the spool: one for each running process, and the sums of the others.

    SPOOL_DIR/usage/
      <32 hex digits>/keys   locked (its directory) by the process that counts in it
      total.json             sums of the processes that are gone

Without a place on the disk a process counts in its own memory.
"""

import contextlib
import logging
import mmap
import shutil
import threading
import time
import uuid
from pathlib import Path

import msgspec

from app.access.key_usage import FILE_BYTES, KeyUsage, SharedUsage, Use
from workers.spool.disk import DirectoryLock, lock_directory
from workers.spool.documents import make_directory, write_document

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
FILE, TOTAL = "keys", "total.json"
Totals = dict[str, list[int]]


class UsageFiles:
    """This process's use of keys, and that of the whole service. Methods block on the disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._name = uuid.uuid4().hex
        self._lock: DirectoryLock | None = None
        self._next_look = 0.0
        self._looking = threading.Lock()
        self._failed = False
        self.shared = SharedUsage(self._create())

    def look(self) -> None:
        """Map the files of new processes, and add up those of processes that are gone.

        Returns at once where it was called within the last `LOOK_SECONDS`, or another thread looks.
        """
        if time.monotonic() < self._next_look or not self._looking.acquire(blocking=False):
            return
        try:
            self._next_look = time.monotonic() + LOOK_SECONDS
            self.shared.look(self._living())
            self._failed = False
        except OSError as error:
            if not self._failed:
                about = {"reason": str(error)}
                log.warning("the use of keys by other processes cannot be read", extra=about)
            self._failed = True
        finally:
            self._looking.release()

    def totals(self) -> Totals:
        """Return every key's counters, of all processes since the spool was new.

        What the disk does not give is left out.
        """
        found = [self.shared.own.totals()]
        others: list[Path] = []
        with contextlib.suppress(OSError):
            found.append(_read_total(self._root / TOTAL))
            others = self._others()
        for path in others:
            usage = KeyUsage.open(path / FILE)
            if usage is not None:
                found.append(usage.totals())
                usage.close()
        return _sum(found)

    def _create(self) -> KeyUsage:
        # It gets its name once it is locked: one that is not locked is taken for one that is left.
        new = self._root / f".{self._name}"
        try:
            make_directory(new)
            self._lock = lock_directory(new)
            usage = KeyUsage.create(new / FILE)
            new.rename(self._root / self._name)
        except OSError as error:
            shutil.rmtree(new, ignore_errors=True)
            about = {"reason": str(error)}
            log.warning("the use of keys is counted in memory only", extra=about)
            return KeyUsage(mmap.mmap(-1, FILE_BYTES))
        return usage

    def _others(self) -> list[Path]:
        try:
            found = [path for path in self._root.iterdir() if len(path.name) == len(self._name)]
        except FileNotFoundError:
            return []
        return [path for path in found if path.name != self._name]

    def _living(self) -> list[Path]:
        living = []
        for path in self._others():
            lock = lock_directory(path)
            if lock is None:
                living.append(path / FILE)
            else:
                try:
                    self._add_up(path)
                finally:
                    lock.release()
        return living

    def _add_up(self, path: Path) -> None:
        """Add the counters of a process that is gone to the sums, and remove its file."""
        guard = lock_directory(self._root)
        if guard is None:
            return
        try:
            usage = KeyUsage.open(path / FILE)
            if usage is not None:
                total = _sum([_read_total(self._root / TOTAL), usage.totals()])
                usage.close()
                write_document(self._root / TOTAL, dict(total))
            shutil.rmtree(path, ignore_errors=True)
        finally:
            guard.release()


def _read_total(path: Path) -> Totals:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Totals)
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


def _sum(totals: list[Totals]) -> Totals:
    summed: Totals = {}
    for each in totals:
        for name, cells in each.items():
            row = summed.setdefault(name, [0] * len(Use))
            for use, amount in enumerate(cells[: len(Use)]):
                row[use] += amount
    return summed
