"""The spool in the model: its directories are those of a `SimDisk`, its counters are in memory."""

import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from random import Random

from tests.chaos.model.disk import SimDisk
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


class SimSpool(Spool):
    """The spool of one trial. A process may adopt the directories that no process owns.

    Totals and dead letters are kept in memory, as if always durable: the model is about segments.
    """

    def __init__(self, disk: SimDisk, *, rng: Random) -> None:
        super().__init__(ROOT, disk=disk)
        self.counters_by_name: dict[str, SimCounters] = {}
        self.owned: set[str] = set()
        self.retired = [0] * CELLS
        self.dead: dict[str, bytes] = {}
        self.quarantined: list[str] = []
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
        return process_spool

    def adopt_orphans(self) -> Iterator[ProcessSpool]:
        for name in self._sim.names(ROOT):
            if name not in self.owned:
                yield self._own(ROOT / name)

    def retire(self, process_spool: ProcessSpool) -> None:
        assert not process_spool.segment_files(), "a process's spool is removed with segments in it"
        self.retired = [
            a + b for a, b in zip(self.retired, process_spool.counters.snapshot(), strict=True)
        ]
        self._sim.remove_directory(process_spool.path)
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

    def _own(self, path: Path) -> ProcessSpool:
        self.owned.add(path.name)
        counters = self.counters_by_name.setdefault(path.name, SimCounters())
        release = lambda path: self.owned.discard(path.name)  # noqa: E731
        return SimProcessSpool(path, counters=counters, disk=self._sim, release=release)
