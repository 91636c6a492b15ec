"""The run that changes again and again how far payloads compress, and kills meanwhile."""

import re
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.chaos.harness.experiment import FAULTY, HOUR, Experiment
from tests.chaos.harness.figures import Figures, Terms, chaos_run
from tests.chaos.harness.service import STOP_SECONDS, UpgradableService
from tests.support.flood import Flood, Plan

TARGET = 1 << 20
# A process that uploads segments as large as the ratio of the lines before had allowed takes more.
MAX_MEMORY = 220 << 20
# Enough for bodies and for compressing one object in each worker, not for a whole segment.
MARGIN = 192 << 20
# Of one letter they become a thousandth, of hexadecimal digits the half.
SHIFTING = Plan(threads=1, payloads=(5, 20), pad_bytes=40_000, shift_every=300, pause_seconds=0.04)


@chaos_run("ratio")
def ratio_shifts(terms: Terms) -> Figures:
    """Shift the ratio, kill processes and groups; no object and no process is far too large."""
    with Experiment(
        "ratio shifts with kills",
        terms,
        OBJECT_TARGET_BYTES=TARGET,
        OBJECT_MAX_PAYLOADS=1_000_000,
        OBJECT_MAX_AGE_SECONDS=2,
    ) as experiment:
        experiment.s3.faults(*FAULTY)
        service = experiment.services[0]
        prefix = f"{terms.seed}-shifting"
        plan = replace(SHIFTING, seconds=HOUR, timeout_seconds=STOP_SECONDS, prefix=prefix)
        experiment.floods.append(Flood(service.port, plan))
        experiment.floods[-1].start()
        complaints: list[str] = []
        limit_memory(service)
        for _ in experiment.rounds(0.2, 1.5):
            complaints += too_large_processes(service)
            if experiment.rng.random() < 0.8:
                service.kill_one(experiment.rng)
            else:
                service.kill_group()
                service.restart()
                limit_memory(service)
        found = experiment.figures()
        complaints += [*too_large_processes(service), *too_large_objects(experiment)]
        return replace(found, complaints=[*found.complaints, *complaints])


def limit_memory(service: UpgradableService) -> None:
    """Let no process map much more than it has at its start: beyond that allocations fail.

    What replaces a killed process inherits the master's limit.
    """
    pids = service.processes()
    most = max(_kilobytes(pid, "VmData") for pid in pids) << 10
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_DATA, (most + MARGIN, most + MARGIN))


def too_large_processes(service: UpgradableService) -> Iterator[str]:
    """Name the processes that have ever had too much memory: proc(5), VmHWM."""
    for pid in service.processes():
        peak = _kilobytes(pid, "VmHWM")
        if peak << 10 > MAX_MEMORY:
            yield f"memory: process {pid} had {peak >> 10} MiB"


def too_large_objects(experiment: Experiment) -> Iterator[str]:
    """Name the objects that are far over the target."""
    for key, stored in experiment.s3.objects().items():
        if len(stored.body) > TARGET * 1.5:
            yield f"bucket: {key} has {len(stored.body)} bytes"


def _kilobytes(pid: int, field: str) -> int:
    """Read a figure of a process's memory; 0 if the process is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    return int(found[1]) if found else 0
