"""The files of `key_usage` in the spool: one for each running process, and the sums of the others.

    SPOOL_DIR/usage/
      <32 hex digits>/keys   locked (its directory) by the process that counts in it
      total.json             sums of the processes that are gone

Without a place on the disk a process counts in its own memory, and tries again.
"""

import contextlib
import logging
import shutil
import threading
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

import msgspec

from app.access.key_usage import KeyUsage, SharedUsage, Use
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
        # Other processes do not see what is counted here.
        self._is_alone = False
        self.shared = SharedUsage(KeyUsage.anonymous())
        self._create()

    def look(self) -> None:
        """Map the files of new processes, and add up those of processes that are gone.

        Returns at once where it was called within the last `LOOK_SECONDS`, or another thread looks.
        """
        if time.monotonic() < self._next_look or not self._looking.acquire(blocking=False):
            return
        try:
            self._next_look = time.monotonic() + LOOK_SECONDS
            if self._is_alone:
                self._create()
            self.shared.look(self._living())
            self._failed = False
        except OSError as error:
            if not self._failed:
                about = {"reason": str(error)}
                log.warning("the use of keys by other processes cannot be read", extra=about)
            self._failed = True
        finally:
            self._looking.release()

    def count_request(self, name: str, size: int) -> None:
        """Count a request of a key without limits, whose body of `size` bytes is here."""
        self.look()
        self.shared.own.add_request(name, size)

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
        return added(found)

    def _create(self) -> None:
        """Count in a file that other processes see; without one, in memory until the next try."""
        # It gets its name once it is locked: one that is not locked is taken for one that is left.
        new = self._root / f".{self._name}"
        lock = None
        try:
            make_directory(self._root)
            make_directory(new)
            lock = lock_directory(new)
            before = self.shared.own.move_into(new / FILE)
            new.rename(self._root / self._name)
        except OSError as error:
            if lock is not None:
                lock.release()
            shutil.rmtree(new, ignore_errors=True)
            if not self._is_alone:
                about = {"reason": str(error)}
                log.warning("the use of keys is counted in memory only", extra=about)
            self._is_alone = True
        else:
            self._lock, self._is_alone = lock, False
            self._keep(before)

    def _keep(self, before: Totals) -> None:
        """Add what was counted in memory to the sums.

        In the file others would take it for use of this moment, and hold it against the limits.
        """
        with contextlib.suppress(OSError):
            if not before or self._add_to_total(before):
                return
        for name, cells in before.items():
            for use, amount in zip(Use, cells, strict=True):
                self.shared.own.add(name, use, amount)

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
        usage = KeyUsage.open(path / FILE)
        counted = {} if usage is None else usage.totals()
        if usage is not None:
            usage.close()
        if self._add_to_total(counted):
            shutil.rmtree(path, ignore_errors=True)

    def _add_to_total(self, counted: Totals) -> bool:
        """Add counters to the sums; False where another process is doing so now."""
        guard = lock_directory(self._root)
        if guard is None:
            return False
        try:
            if counted:
                total = added([_read_total(self._root / TOTAL), counted])
                write_document(self._root / TOTAL, dict(total))
        finally:
            guard.release()
        return True


def _read_total(path: Path) -> Totals:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Totals)
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


def added(totals: Iterable[Totals]) -> Totals:
    """Add up the counters of keys, as several processes have counted them."""
    summed: Totals = {}
    for each in totals:
        for name, cells in each.items():
            row = summed.setdefault(name, [0] * len(Use))
            for use, amount in enumerate(cells[: len(Use)]):
                row[use] += amount
    return summed
