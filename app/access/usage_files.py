"""The files of `key_usage` in the spool: one for each running process, and the sums of the others.

    SPOOL_DIR/usage/
      <32 hex digits>/keys   locked (its directory) by the process that counts in it
      total.json             sums of the processes that are gone

Without a place on the disk a process counts in its own memory.
"""

import logging
import mmap
import shutil
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
        self.shared = SharedUsage(self._create())

    def look(self) -> None:
        """Map the files of new processes, and add up those of processes that are gone.

        Returns at once where it was called within the last `LOOK_SECONDS`.
        """
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        try:
            self.shared.look(self._living())
        except OSError:
            log.exception("the use of keys by other processes cannot be read")

    def totals(self) -> Totals:
        """Return every key's counters, of all processes since the spool was new."""
        found = [self.shared.own.totals(), _read_total(self._root / TOTAL)]
        for path in self._others():
            usage = KeyUsage.open(path / FILE)
            if usage is not None:
                found.append(usage.totals())
                usage.close()
        return _sum(found)

    def _create(self) -> KeyUsage:
        path = self._root / self._name
        try:
            make_directory(path)
            self._lock = lock_directory(path)
            return KeyUsage.create(path / FILE)
        except OSError as error:
            about = {"reason": str(error)}
            log.warning("the use of keys is counted in memory only", extra=about)
            return KeyUsage(mmap.mmap(-1, FILE_BYTES))

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
