"""A contender at work: starts it, reads what it has stored, and what CPU and memory that took.

Knows nothing of the load.
"""

import contextlib
import functools
import http.client
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from benchmarks import ROOT
from benchmarks.baselines.front import read_tallies
from benchmarks.harness.contenders import AGE_SECONDS, Contender
from benchmarks.harness.fluent_bit import FluentBit
from benchmarks.harness.servers import CommandService, granian
from tests.support.redis.server import RedisProcess, program_of
from tests.support.s3 import FakeS3
from tests.support.service import Service

BASELINES = ROOT / "benchmarks" / "baselines"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
LOOK_SECONDS = 0.1


class Counts(NamedTuple):
    """Payloads, over all processes."""

    accepted: int
    stored: int


class Running:
    """A contender at work; as a context manager it starts, and is killed.

    `settings` come before the contender's own; `original` is the program built from Go.
    """

    def __init__(
        self,
        contender: Contender,
        *,
        s3: FakeS3,
        workdir: Path,
        settings: Mapping[str, str],
        original: Path | None = None,
    ) -> None:
        common = {"OBJECT_MAX_AGE_SECONDS": str(AGE_SECONDS), "PYTHONPATH": str(contender.root)}
        given = {**common, **settings, **contender.settings, "BASELINE": contender.baseline}
        self._contender = contender
        self.service: Service
        # What only uploads, where that is another service than the one that accepts.
        self._uploading: Service | None = None
        self._redis: RedisProcess | None = None
        match contender.server:
            case "gunicorn":
                root = BASELINES if contender.baseline else contender.root
                self.service = Service(workdir, s3, settings=given, root=root)
            case "queue" | "roles":
                self._redis = RedisProcess(program_of() or "redis-server", workdir / "redis")
                given["QUEUE_URL"] = self._redis.url
                if contender.server == "roles":
                    directory = workdir / "uploading"
                    directory.mkdir()
                    worker = {**given, "ROLE": "worker"}
                    self._uploading = Service(directory, s3, settings=worker, root=contender.root)
                    given["ROLE"] = "web"
                self.service = Service(workdir, s3, settings=given, root=contender.root)
            case "granian":
                self.service = CommandService(workdir, s3, settings=given, command=granian)
            case "original":
                command = functools.partial(_run, original)
                self.service = CommandService(workdir, s3, settings=given, command=command)
            case "fluent-bit":
                self.service = FluentBit(workdir, s3, settings=given)

    def __enter__(self) -> Self:
        if self._redis is not None:
            self._redis.start()
        try:
            if self._uploading is not None:
                self._uploading.__enter__()
            self.service.__enter__()
        except BaseException:
            self._end_others()
            raise
        if self._contender.server in {"gunicorn", "granian"} and not self._contender.baseline:
            self._await_all()
        return self

    def _await_all(self) -> None:
        """Block until every process is ready: the first one would be given all connections.

        Gives up after a while, as workers that have a backlog are not idle.
        """
        processes = int(self.service.settings.get("WEB_CONCURRENCY", len(os.sched_getaffinity(0))))
        idle = processes * int(self.service.settings.get("MAX_WORKERS", 8))
        with contextlib.suppress(AssertionError):
            self.service.wait_stats(lambda stats: stats["idle_workers"] >= idle, timeout=5)

    def __exit__(self, *_: object) -> None:
        self.service.kill_group()
        self._end_others()

    def _end_others(self) -> None:
        if self._uploading is not None:
            self._uploading.kill_group()
        if self._redis is not None:
            self._redis.kill()

    @property
    def port(self) -> int:
        """Where it listens, on loopback."""
        return self.service.port

    def counts(self) -> Counts:
        """Return its own ledger.

        Raises:
            OSError, http.client.HTTPException: it does not answer.
        """
        if self._contender.baseline:
            return Counts(*read_tallies(self.service.spool_dir))
        stats = self.service.stats()
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
        own = sum(map(_cpu_seconds, self.service.processes()))
        return own + self.uploading_cpu_seconds() + self.engine_cpu_seconds()

    def uploading_cpu_seconds(self) -> float:
        """Return how much of it is that of processes that only upload."""
        found = [] if self._uploading is None else self._uploading.processes()
        return sum(map(_cpu_seconds, found))

    def engine_cpu_seconds(self) -> float:
        """Return how much of it is the queue's server's."""
        return 0.0 if self._redis is None else _cpu_seconds(self._redis.pid)

    def peak_rss_bytes(self) -> int:
        """Sum the highest resident memory of each process; shared pages count once for each."""
        return self._sum_kib("status", r"VmHWM:\s+(\d+)")

    def rss_bytes(self) -> int:
        """Sum the resident memory of all processes now; shared pages count once for each."""
        return self._sum_kib("status", r"VmRSS:\s+(\d+)")

    def pss_bytes(self) -> int:
        """Sum the resident memory of all processes now; shared pages count once in all."""
        return self._sum_kib("smaps_rollup", r"^Pss:\s+(\d+)")

    def _sum_kib(self, file: str, pattern: str) -> int:
        """Sum a figure of all processes, in bytes, from a file of proc(5) that has it in KiB."""
        total = 0
        others = [] if self._uploading is None else self._uploading.processes()
        for pid in [*self.service.processes(), *others]:
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{pid}/{file}").read_text()
                total += sum(int(kib) for kib in re.findall(pattern, text, re.MULTILINE)) * 1024
        return total


def _cpu_seconds(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / TICKS_PER_SECOND
    return 0.0


def _run(program: Path | None, _: int) -> Sequence[str]:
    """Return the command of a program that finds its port in the environment."""
    if program is None:
        raise ValueError("the original was not built")
    return [str(program)]
