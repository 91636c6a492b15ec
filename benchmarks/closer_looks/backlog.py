"""The service with a backlog: spool files that it wrote itself while S3 was away.

Measures how long a start takes then, and what requests cost with S3 still away, or slow.
"""

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.contenders import Contender, contender
from benchmarks.harness.environment import Bench
from benchmarks.harness.running import Running
from benchmarks.load.bodies import Body
from benchmarks.load.closed_loop import Demand, Loaded
from benchmarks.output.text import grid, show, title
from tests.support.processes import free_port
from tests.support.s3 import FakeS3, Fault

GB = 10**9
MICRO, MILLI = 1e6, 1e3
FILL = Demand(seconds=2, body=Body(payloads=100))
# Some 20 MB/s, the least that a disk fills at before this gives up.
FILL_BYTES_A_SECOND = 20 * 10**6
SLOW_PUT_SECONDS = 0.5
OBJECT_BYTES = 4 << 20
READY_SECONDS = 300.0
# By then a backlog is adopted, and every worker is uploading.
SETTLED_SECONDS = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A start, and a load after it."""

    backlog_bytes: int
    backlog_files: int
    s3: str
    # From the start of the processes, and from then to the load.
    ready_seconds: float
    since_ready_seconds: float
    requests_per_second: float
    cpu_us_per_payload: float | None
    p50_ms: float
    p99_ms: float
    refused: int


@dataclass(frozen=True, slots=True)
class Start:
    """What a start finds: the state of S3, and the files and bytes in the spool."""

    s3: str
    files: int
    size: int

    def run(self, seen: Loaded, cpu: float, *, ready: float, since: float) -> Run:
        """Make a run of what a load saw, and the seconds of CPU meanwhile."""
        return Run(
            backlog_bytes=self.size,
            backlog_files=self.files,
            s3=self.s3,
            ready_seconds=ready,
            since_ready_seconds=since,
            requests_per_second=seen.accepted / seen.seconds,
            cpu_us_per_payload=cpu / seen.accepted * MICRO if seen.accepted else None,
            p50_ms=seen.p50 * MILLI,
            p99_ms=seen.p99 * MILLI,
            refused=seen.refused,
        )


def measure_all(bench: Bench, *, size: int, seconds: int) -> list[Run]:
    """Start and load the service with an empty spool and with a backlog, S3 away and slow.

    Writes so many bytes in a temporary directory.

    Raises:
        OSError: the disk has not room for twice as many.
    """
    free = shutil.disk_usage(bench.workdir).free
    if free < 2 * size:
        raise OSError(f"{free / GB:.1f} GB free in {bench.workdir}, {2 * size / GB:.1f} are needed")
    runs = []
    for backlog in (0, size):
        with tempfile.TemporaryDirectory(dir=bench.workdir) as directory:
            workdir = Path(directory)
            if backlog:
                _fill(bench, workdir, backlog)
            # S3 away first, so that the backlog is not uploaded.
            for slow in (False, True):
                runs += _measure(bench, workdir, slow=slow, seconds=seconds, size=size)
                print(f"{backlog / GB:g} GB behind, S3 {runs[-1].s3}", flush=True)
    return runs


def table(runs: Sequence[Run]) -> str:
    """Lay the runs out."""
    heads = (
        "backlog", "files", "S3", "ready after s", "load after s", "requests/s",
        "CPU us/payload accepted", "p50 ms", "p99 ms", "503", "",
    )  # fmt: skip
    rows = [
        [
            f"{run.backlog_bytes / GB:.2f} GB",
            str(run.backlog_files),
            run.s3,
            f"{run.ready_seconds:.2f}",
            f"{run.since_ready_seconds:.0f}",
            *map(show, (run.requests_per_second, run.cpu_us_per_payload, run.p50_ms, run.p99_ms)),
            f"{run.refused:,}",
            "",
        ]
        for run in runs
    ]
    return f"{title('a backlog behind disk, 1 payload per request')}\n{grid(heads, rows)}"


def _disk() -> Contender:
    return contender("disk")


def _settings(size: int) -> dict[str, str]:
    """Return bounds that a backlog of this size stays below."""
    return {
        "SPOOL_MAX_BYTES": str(3 * size + 10 * GB),
        "MAX_QUEUE": str(1000 + 2 * size // OBJECT_BYTES),
        "S3_CONDITIONAL_PUT": "off",
    }


def _away() -> FakeS3:
    """Return an S3 that is never started, so that connections are refused."""
    return FakeS3(port=free_port())


def _fill(bench: Bench, workdir: Path, size: int) -> None:
    """Let the service write a backlog, and kill it: the files are as a crash leaves them.

    Raises:
        AssertionError: the disk does not fill in time.
    """
    deadline = time.monotonic() + 30 + size / FILL_BYTES_A_SECOND
    with Running(_disk(), s3=_away(), workdir=workdir, settings=_settings(size)) as running:
        while _spooled(workdir)[1] < size:
            if time.monotonic() > deadline:
                raise AssertionError(f"the spool has {_spooled(workdir)[1]} bytes, not {size}")
            bench.load.run(running.port, FILL)


def _measure(bench: Bench, workdir: Path, *, slow: bool, seconds: int, size: int) -> list[Run]:
    """Start the service on its spool; load it at once, and again when it has settled."""
    s3 = FakeS3() if slow else _away()
    if slow:
        s3.start()
        s3.faults(Fault(kind="slow", seconds=SLOW_PUT_SECONDS))
    running = Running(_disk(), s3=s3, workdir=workdir, settings=_settings(size))
    files, behind = _spooled(workdir)
    start = Start(f"{SLOW_PUT_SECONDS:g} s a PUT" if slow else "away", files, behind)
    runs = []
    try:
        begun = time.monotonic()
        running.service.start()
        running.service.wait_ready(READY_SECONDS)
        ready = time.monotonic()
        for settled in (0.0, SETTLED_SECONDS):
            time.sleep(max(0.0, ready + settled - time.monotonic()))
            since = time.monotonic() - ready
            cpu = running.cpu_seconds()
            seen = bench.load.run(running.port, Demand(seconds=seconds))
            cpu = running.cpu_seconds() - cpu
            runs.append(start.run(seen, cpu, ready=ready - begun, since=since))
    finally:
        running.service.kill_group()
        s3.stop()
    return runs


def _spooled(workdir: Path) -> tuple[int, int]:
    """Count the segment files in the spool, and their bytes."""
    found = [
        path.stat().st_size
        for pattern in ("*.open", "*.ready")
        for path in (workdir / "spool").rglob(pattern)
    ]
    return len(found), sum(found)
