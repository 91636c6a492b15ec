"""The run that fills the spool's file system by many streams, and kills what uses it."""

import contextlib
import http.client
import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.chaos.harness.experiment import Experiment
from tests.chaos.harness.figures import Figures, Terms, chaos_run
from tests.chaos.harness.service import STOP_SECONDS
from tests.chaos.runs.full_disk import FILLING, CannotMountError, tmpfs
from tests.support import wait_until
from tests.support.service import Service

SIZE = 8 << 20
# Half of the reserve of so small a file system.
LEAST_FREE = 1 << 19
STREAMS = tuple(f"stream-{number}" for number in range(150))


class ManyStreams(Experiment):
    """Load on so many streams that their files alone take a good part of the file system."""

    loads = (
        replace(FILLING, streams=STREAMS, pad_bytes=400),
        replace(FILLING, streams=STREAMS, form="ndjson"),
    )


@chaos_run("full-disk-kills")
def full_disk_kills(terms: Terms) -> Figures:
    """Fill a small tmpfs by many streams, kill and start processes on it, and let S3 return."""
    name = "full disk with kills, 150 streams"
    spool = terms.workdir / "tmpfs"
    short: list[int] = []
    try:
        with tmpfs(spool, SIZE), ManyStreams(name, terms, SPOOL_DIR=spool) as experiment:
            experiment.expected_errors += ("commit failed",)
            service = experiment.services[0]
            acts: tuple[Callable[[], None], ...] = (
                lambda: service.kill_one(experiment.rng),
                service.kill_and_start,
                lambda: None,
            )
            rounds = experiment.rounds(0.0, 0.5, least=len(acts))
            for _, act in zip(rounds, itertools.cycle(acts), strict=False):
                experiment.s3.stop_listening()
                for _ in range(2):
                    experiment.await_refusals()
                    short += [left for left in [_free(spool)] if left < LEAST_FREE]
                    act()
                    # A start on the full disk serves, too: it has to upload what is there.
                    wait_until(lambda: _lives(service), timeout=STOP_SECONDS, what="/healthz")
                experiment.s3.listen_again()
                experiment.await_load()
            figures = experiment.figures()
    except CannotMountError as error:
        return Figures(name=name, skipped=str(error))
    if short:
        complaint = f"only {min(short)} bytes were left free"
        return replace(figures, complaints=[*figures.complaints, complaint])
    return figures


def _lives(service: Service) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return service.get("/healthz").status == http.client.OK
    return False


def _free(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
