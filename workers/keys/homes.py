"""The process directories, as far as keys are concerned: which may hold some that no log has yet.

A process marks its counters before it writes payloads with keys, and clears the mark once their
entries are in its log. The mark of one that has died stays until its directory is recovered. After
a power cut marks are not trusted: there every `.open` file may hold such keys.
"""

import contextlib
import mmap
import os
from collections.abc import Callable
from pathlib import Path

from workers.keys.shared import Shared, life_place
from workers.spool.counters import COUNTERS_BYTES, Counters, Field, UnknownCounters
from workers.spool.segment_file import OPEN
from workers.spool.spool import Spool

LEDGER = "ledger"


def watch_counters(path: Path) -> Counters:
    """Map the counters of a process directory to look at them as they change. Blocks on the disk.

    Raises:
        UnknownCounters: another version wrote them.
        OSError: they cannot be read.
    """
    Counters.read(path / LEDGER)
    file = os.open(path / LEDGER, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return Counters(mmap.mmap(file, COUNTERS_BYTES, prot=mmap.PROT_READ))
    except ValueError as error:
        raise UnknownCounters(str(error)) from error
    finally:
        os.close(file)


class Homes:
    """The directories of other processes. For one thread at a time; blocks on the disk."""

    def __init__(
        self,
        spool: Spool,
        *,
        own: str,
        is_over: Callable[[float], bool],
        watch: Callable[[Path], Counters],
    ) -> None:
        self._spool = spool
        self._watch = watch
        self._own = own
        self._is_over = is_over
        self._boot = spool.disk.boot_id()
        self._counters: dict[Path, Counters] = {}
        # Whose marks say nothing, and whose files have to be looked at.
        self._doubtful: set[Path] = set()
        self._known: set[Path] = set()

    def look(self) -> None:
        """See which directories there are."""
        paths = set(self._spool.process_paths())
        for path in self._known - paths:
            self._doubtful.discard(path)
            self._counters.pop(path, None)
        for path in paths - self._known:
            if path.name != self._own:
                self._add(path)
        self._known = paths

    def unsettled(self, shared: Shared) -> bool:
        """Whether a process that has ended may have left keys that are in no log yet."""
        for path, counters in self._counters.items():
            is_marked = counters[Field.UNLOGGED_KEYS] and self._has_open_files(path)
            if is_marked and not shared.is_locked(life_place(path.name)):
                return True
        return bool(self._doubtful) and self._doubt()

    def _add(self, path: Path) -> None:
        try:
            counters = self._watch(path)
        except (OSError, UnknownCounters):
            self._doubtful.add(path)
            return
        if counters.boot == self._boot:
            self._counters[path] = counters
        else:
            self._doubtful.add(path)

    def _doubt(self) -> bool:
        self._doubtful = {path for path in self._doubtful if self._has_open_files(path)}
        return bool(self._doubtful)

    def _has_open_files(self, path: Path) -> bool:
        disk = self._spool.disk
        for name in disk.names(path):
            if name.endswith(OPEN):
                # The keys of one that was written long ago have had their time.
                with contextlib.suppress(FileNotFoundError):
                    if not self._is_over(disk.modified_at(path / name)):
                        return True
        return False
