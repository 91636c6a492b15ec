"""Who is measured: this service and the earlier designs, each under the same gunicorn.

Knows how to start one, what it has stored and what that cost; nothing of the load.
"""

import contextlib
import http.client
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from benchmarks.baselines.front import read_tallies
from tests.harness.s3 import ROOT, FakeS3
from tests.harness.service import Service

BASELINES = ROOT / "benchmarks" / "baselines"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
LOOK_SECONDS = 0.1
# Short runs need young segments. The default, 10 s, makes a tenth of the objects where age seals.
AGE_SECONDS = 1.0
COMMON = {"OBJECT_MAX_AGE_SECONDS": str(AGE_SECONDS), "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A design to measure."""

    name: str
    about: str
    settings: Mapping[str, str] = field(default_factory=dict)
    # A module of `benchmarks.baselines`; empty for this service.
    baseline: str = ""

    @property
    def waits_seconds(self) -> float:
        """How long it holds a last payload on purpose, to fill an object."""
        alone = self.baseline or self.settings.get("OBJECT_MAX_PAYLOADS") == "1"
        return 0.0 if alone else AGE_SECONDS


CONTENDERS = (
    Contender(
        name="disk",
        about="this service; a 202 leaves after fsync",
        settings={"DURABILITY": "disk"},
    ),
    Contender(
        name="memory",
        about="this service; a 202 leaves when the payload is in memory",
        settings={"DURABILITY": "memory"},
    ),
    Contender(name="handler", about="uploads inside the handler", baseline="handler"),
    Contender(name="threads", about="an unbounded thread per payload", baseline="threads"),
    Contender(name="consumer", about="a buffered queue with one consumer", baseline="consumer"),
    Contender(
        name="chan-of-chan",
        about="the original: this service in memory with an object per payload",
        settings={"DURABILITY": "memory", "OBJECT_MAX_PAYLOADS": "1", "COMPRESSION": "none"},
    ),
)


class Counts(NamedTuple):
    """Payloads, over all processes."""

    accepted: int
    stored: int


class Running:
    """A contender at work; as a context manager it starts, and is killed."""

    def __init__(
        self, contender: Contender, *, s3: FakeS3, workdir: Path, settings: Mapping[str, str]
    ) -> None:
        given = {**COMMON, **settings, **contender.settings, "BASELINE": contender.baseline}
        root = BASELINES if contender.baseline else ROOT
        self._contender = contender
        self._service = Service(workdir, s3, settings=given, root=root)

    def __enter__(self) -> Self:
        self._service.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._service.kill_group()

    @property
    def port(self) -> int:
        """Where it listens, on loopback."""
        return self._service.port

    def counts(self) -> Counts:
        """Return its own ledger.

        Raises:
            OSError, http.client.HTTPException: it does not answer.
        """
        if self._contender.baseline:
            return Counts(*read_tallies(self._service.spool_dir))
        stats = self._service.stats()
        return Counts(stats["accepted"], stats["stored"])

    def wait_stored(self, *, timeout: float) -> Counts:
        """Block until all that was accepted is stored, `timeout` seconds at most."""
        deadline = time.monotonic() + timeout
        seen = Counts(0, 0)
        while True:
            before = seen
            with contextlib.suppress(OSError, http.client.HTTPException):
                seen = self.counts()
            # A request may still be on its way in when the load has ended: see the same twice.
            if (seen.accepted == seen.stored and seen == before) or time.monotonic() > deadline:
                return seen
            time.sleep(LOOK_SECONDS)

    def cpu_seconds(self) -> float:
        """Sum user and system time of all its processes, those that ended included (proc(5))."""
        ticks = 0
        for pid in self._service.processes():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15]))
        return ticks / TICKS_PER_SECOND

    def peak_rss_bytes(self) -> int:
        """Sum the highest resident memory of each process; shared pages count once for each."""
        total = 0
        for pid in self._service.processes():
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                total += sum(int(kib) * 1024 for kib in re.findall(r"VmHWM:\s+(\d+)", status))
        return total
