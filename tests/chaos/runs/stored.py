"""The run of `DURABILITY=stored`: machines vanish, with all that was on them."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tests.chaos.harness.experiment import FAULTY, LOADS, Experiment
from tests.chaos.harness.figures import Figures, Terms, chaos_run
from tests.chaos.harness.service import UpgradableService
from tests.support.oracle import Verdict
from tests.support.s3 import Fault
from workers.settings.stored import counters_directory

SETTINGS = {"DURABILITY": "stored", "REQUEST_SECONDS": 4, "STORED_MAX_WAIT_SECONDS": 0.05}
FAULTS = (
    *FAULTY,
    # An answer that says that nothing was stored.
    Fault(kind="error", status=503, code="SlowDown", probability=0.1),
    # Longer than a client waits: it takes effect after the answer.
    Fault(kind="slow", probability=0.05, seconds=6.0),
    Fault(kind="late_answer", probability=0.05, seconds=6.0),
)


class Machines(Experiment):
    """Services that share a bucket and nothing else: each has a ledger of its own, in memory.

    Clients wait for S3, so there are more of them, and each sends more.
    """

    loads = tuple(replace(load, threads=8, payloads=(1, 200)) for load in LOADS)

    def vanish(self, service: UpgradableService) -> None:
        """Kill a machine's processes, and remove all that is left of it."""
        service.kill_group()
        shutil.rmtree(counters_directory(self.s3.bucket, service.port), ignore_errors=True)

    def watched(self) -> Sequence[str]:
        """Return nothing: no ledger outlives its machine."""
        return ()

    def unbalanced(self, verdict: Verdict) -> Iterator[str]:
        """Hold what the machines say now against each other, and the bucket against the clients."""
        for service in self.services:
            stats = service.stats()
            if stats["accepted"] != stats["stored"] or stats["pending"] or stats["dead"]:
                yield f"ledger: {stats}"
        if (lines := len(self.s3.lines())) != verdict.stored:
            yield f"ledger: {lines} lines in the bucket, {verdict.stored} of ours"


@chaos_run("stored")
def machines_vanish(terms: Terms) -> Figures:
    """Two machines on one bucket: one is killed for good, and another takes its place, and so on.

    What was answered is in the bucket by then, so there is nothing to find again.
    """
    with Machines("stored, machines vanish", terms, **SETTINGS) as machines:
        machines.s3.faults(*FAULTS)
        machines.add_service()
        for _ in machines.rounds(0.3, 1.5):
            service = machines.rng.choice(machines.services)
            machines.vanish(service)
            service.start()
        found = machines.figures()
        for service in machines.services:
            machines.vanish(service)
        return found
