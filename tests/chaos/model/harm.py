"""Trials in which files of dead processes are damaged, cut, of another version, or unreadable.

What was harmed may be lost, and is then dead in the counters; nothing else may be.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos.model.findings import Findings
from tests.chaos.model.judgement import PAYLOAD
from tests.chaos.model.process import Process
from tests.chaos.model.spool import ROOT
from tests.chaos.model.trial import Trial
from workers.spool import frames
from workers.spool.segment_file import OPEN, READY, SegmentFile

CUT_SHARE, HARM_SHARE, READABLE_SHARE = 0.3, 0.8, 0.05


class HarmedTrial(Trial):
    """Lives that end by kills, some by power cuts, and harm to a file after most of them."""

    def __init__(self, seed: int, **parts: Any) -> None:
        super().__init__(seed, **parts)
        self.harms = 0
        self._unread = False
        # Files of another version: what this one wrote there before.
        self._foreign: dict[Path, bytes] = {}
        # Segments that must be kept for a person.
        self._kept: set[str] = set()

    def run(self) -> Findings:
        """Play the trial; damage that cannot be examined is a fault as well."""
        found = super().run()
        # Without reading the file, an unfinished write looks the same as a lost one.
        if self._unread:
            found.faults[:] = [one for one in found.faults if not one.startswith("quarantined")]
        found.faults.extend(f"{name} was not kept" for name in sorted(self._kept - self._seen()))
        return found

    def _seen(self) -> set[str]:
        return {entry.partition(".")[0] for entry in self._spool.quarantined}

    def _cut_power(self) -> None:
        super()._cut_power()
        # From now on rot at the end of an open file looks like a write that was torn.
        self._kept &= self._seen()

    def _act(self, process: Process) -> None:
        if self._rng.random() < READABLE_SHARE:
            self._disk.unreadable.clear()
        super()._act(process)

    def _disturb_disk(self, process: Process) -> None:
        super()._disturb_disk(process)
        self._disk.failing = self._uncertain = False

    def _die(self) -> None:
        if self._rng.random() < CUT_SHARE:
            self._cut_power()
        self._disk.kill()
        self._end_processes(survivors=[])
        if self._rng.random() < HARM_SHARE:
            self._harm()

    def _drain(self) -> None:
        self._disk.unreadable.clear()
        for path, content in self._foreign.items():
            there = path.name in self._disk.names(path.parent)
            assert there, "a file of another version has gone"
            assert self._disk.read(path) == b"BBh2" + content[4:], "it was not left as it was"
            self._disk.write(path, content)
        super()._drain()

    def _harm(self) -> None:
        paths = [
            directory / name
            for directory in (ROOT / name for name in self._disk.names(ROOT))
            for name in self._disk.names(directory)
        ]
        targets = [path for path in paths if path not in self._foreign and self._is_pending(path)]
        if targets:
            path = self._rng.choice(targets)
            self._disk.sync_directory(path.parent)
            acts: list[Callable[[Path], None]] = [self._hide, self._alter, *[self._damage] * 3]
            self._rng.choice(acts)(path)
            self.harms += 1

    def _is_pending(self, path: Path) -> bool:
        """Whether a file has a readable header and is not in the bucket yet."""
        if path.suffix not in (OPEN, READY) or path.stem in self._disk.unreadable:
            return False
        header = SegmentFile(path, disk=self._disk).read_header()
        return header is not None and header.key not in self._bucket.objects

    def _hide(self, path: Path) -> None:
        """Let the disk not give a file back for some time."""
        self._disk.unreadable.add(path.stem)
        self._unread = True

    def _alter(self, path: Path) -> None:
        """Let another version have written a file."""
        content = self._foreign[path] = self._disk.read(path)
        self._disk.write(path, b"BBh2" + content[4:])
        self._unread = True

    def _damage(self, path: Path) -> None:
        """Flip a bit in the last frame with lines, or take frames away: the last ones, or one.

        The last ones may also be zeros, as they are ahead of a file's end.
        """
        content = self._disk.read(path)
        with self._disk.open(path) as file:
            found = list(frames.salvage(file, frames.seed(path.stem)))
        runs = [one for one in found if isinstance(one, frames.Frame) and one.mark == frames.LINES]
        torn = [one for one in found if isinstance(one, frames.Damaged) and one.tail != "blank"]
        if not runs or torn:
            return
        at = self._rng.randrange(len(runs))
        kind = self._rng.choice(("rot", "cut", "zeros", "hole"))
        if kind == "rot":
            at = len(runs) - 1
            changed = bytearray(content)
            changed[runs[at].end - 1] ^= 1
            content = bytes(changed)
            if self._is_this_boot(path):
                self._kept.add(path.stem)
        elif kind in ("cut", "zeros"):
            left = content[: runs[at].start]
            content = left if kind == "cut" else left.ljust(len(content), b"\0")
        else:
            content = content[: runs[at].start] + content[runs[at].end :]
        for run in [runs[at]] if kind in ("rot", "hole") else runs[at:]:
            self.harmed.update(int(one) for one, _ in PAYLOAD.findall(run.body))
        self._disk.write(path, content)

    def _is_this_boot(self, path: Path) -> bool:
        counters = self._spool.counters_by_name[path.parent.name]
        return counters.boot == self._disk.boot_id()
