"""The spool in the model: its directories are those of a `SimDisk`, its counters are in memory."""

import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos.model.disk import SimDisk
from workers.keys.shared import APPENDED, LISTED, life_place
from workers.segments.segment import Header
from workers.spool.counters import CELLS, COUNTERS_BYTES, Counters, Field, Totals
from workers.spool.disk import DirectoryLock
from workers.spool.process_spool import ProcessSpool
from workers.spool.segment_file import SegmentFile
from workers.spool.spool import Spool

ROOT = Path("/spool")


class SimCounters(Counters):
    """Counters in memory, and what the kernel has written of them to the disk so far."""

    def __init__(self) -> None:
        memory = mmap.mmap(-1, COUNTERS_BYTES)
        super().__init__(memory)
        self._written = bytes(COUNTERS_BYTES)

    def flush(self) -> None:
        """Write the counters to the disk, as the kernel does now and then by itself."""
        self._written = self._memory[:]

    def power_cut(self) -> None:
        """Go back to what was written."""
        self._memory[:] = self._written


class SimProcessSpool(ProcessSpool):
    """A process's spool directory: counters in memory, and for a lock an entry in a set."""

    def __init__(
        self, path: Path, *, counters: Counters, disk: SimDisk, release: Callable[[Path], None]
    ) -> None:
        super().__init__(path, counters=counters, lock=DirectoryLock([-1]), disk=disk)
        self._release = release

    def leave(self) -> None:
        self._release(self.path)


class SimShared:
    """What processes share for their keys: locks that end with their process, and marks.

    `machine` has the locks, by place, and the marks, for all processes.
    """

    def __init__(self, machine: dict[int | str, Any]) -> None:
        self._machine = machine

    def lock(self, place: int) -> bool:
        return self._machine.setdefault(place, self) is self

    def unlock(self, place: int) -> None:
        if self._machine.get(place) is self:
            del self._machine[place]

    def unlock_claims(self) -> None:
        for place, owner in list(self._machine.items()):
            if owner is self and isinstance(place, int) and place < life_place("0"):
                del self._machine[place]

    def is_locked(self, place: int) -> bool:
        return self._machine.get(place, self) is not self

    @property
    def marks(self) -> tuple[int, int]:
        return self._machine.get("appended", 0), self._machine.get("listed", 0)

    def mark_appended(self) -> None:
        self._machine["appended"] = self.marks[APPENDED] + 1

    def mark_listed(self) -> None:
        self._machine["listed"] = self.marks[LISTED] + 1

    def end(self) -> None:
        """Free the locks: the process has ended."""
        for place in [place for place, owner in self._machine.items() if owner is self]:
            del self._machine[place]


class SimSpool(Spool):
    """The spool of one trial. A process may adopt the directories that no process owns.

    Totals and dead letters are kept in memory, as if always durable: the model is about segments.
    """

    def __init__(self, disk: SimDisk, *, rng: Random) -> None:
        super().__init__(ROOT, disk=disk)
        self.counters_by_name: dict[str, SimCounters] = {}
        self.owned: set[str] = set()
        self.retired = [0] * CELLS
        self.machine: dict[int | str, Any] = {}
        self.dead: dict[str, bytes] = {}
        self.quarantined: list[str] = []
        self._gone: set[str] = set()
        self._sim = disk
        self._rng = rng

    def chance(self, choices: Sequence[int]) -> int:
        """Choose by the trial's chance."""
        return self._rng.choice(choices)

    def prepare(self, *, owner: tuple[int, int] | None = None) -> None:
        """Do nothing: the root is there."""
        del owner

    def totals(self) -> Totals:
        """Add up what is known of every directory."""
        return Totals([self.retired, *(each.snapshot() for each in self.counters_by_name.values())])

    def create_process_spool(self) -> ProcessSpool:
        path = ROOT / f"{self._rng.getrandbits(128):032x}"
        self._sim.make_directory(path)
        self._sim.sync_directory(ROOT)
        process_spool = self._own(path)
        process_spool.counters.boot = self._sim.boot_id()
        process_spool.counters.flush()
        return process_spool

    def adopt_orphans(self) -> Iterator[ProcessSpool]:
        for path in self.process_paths():
            if path.name in self._gone:
                # Its counters are in the sums; a power cut undid the removal.
                self._sim.remove_directory(path)
            elif path.name not in self.owned:
                yield self._own(path)

    def retire(self, process_spool: ProcessSpool) -> None:
        assert not process_spool.segment_files(), "a process's spool is removed with segments in it"
        self.retired = [
            a + b for a, b in zip(self.retired, process_spool.counters.snapshot(), strict=True)
        ]
        self._sim.remove_directory(process_spool.path)
        self._gone.add(process_spool.path.name)
        del self.counters_by_name[process_spool.path.name]
        process_spool.close()

    def keep_dead(
        self, header: Header, runs: Iterable[bytes], *, reason: str, payloads: int
    ) -> None:
        del reason, payloads
        self.dead[header.name] = b"".join(runs)

    def drop_dead(self, name: str) -> None:
        self.dead.pop(name, None)

    def quarantine(self, file: SegmentFile, *, reason: str) -> None:
        self.quarantined.append(f"{file.path.name}: {reason}")

    def set_aside(self, file: SegmentFile, *, reason: str) -> None:
        self.quarantine(file, reason=reason)
        self._sim.unlink(file.path)

    def count(self, field: Field) -> int:
        """Return a counter of the whole service."""
        return self.retired[field] + sum(ledger[field] for ledger in self.counters_by_name.values())

    def open_keys(self, directory: Path) -> None:
        """Make the directory of the key logs, if it is not there."""
        if directory.name not in self._sim.names(ROOT):
            self._sim.make_directory(directory)

    def watch_counters(self, path: Path) -> Counters:
        """Return another process's counters; of a directory that a power cut brought back none."""
        if path.name not in self.counters_by_name:
            raise FileNotFoundError(path)
        return self.counters_by_name[path.name]

    def _own(self, path: Path) -> ProcessSpool:
        self.owned.add(path.name)
        counters = self.counters_by_name.setdefault(path.name, SimCounters())
        release = lambda path: self.owned.discard(path.name)  # noqa: E731
        return SimProcessSpool(path, counters=counters, disk=self._sim, release=release)
