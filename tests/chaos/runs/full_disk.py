"""The run that fills the spool's file system."""

import contextlib
import itertools
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tests.chaos.harness.experiment import LOAD, LOADS, Experiment
from tests.chaos.harness.figures import Figures, Terms, chaos_run

TMPFS_BYTES = 2 << 20
# Until the disk is full, collections arrive five times as large as in other runs.
FILLING = replace(LOAD, payloads=(1, 100))


class CannotMountError(Exception):
    """This person, or this machine, may not mount a file system."""


class Filling(Experiment):
    """The load of other runs, in larger collections."""

    loads = tuple(replace(load, payloads=FILLING.payloads) for load in LOADS)


@chaos_run("full-disk")
def full_disk(terms: Terms) -> Figures:
    """Fill a small tmpfs by an outage of S3, again and again; S3's return is all that helps."""
    name = "full disk"
    spool = terms.workdir / "tmpfs"
    try:
        with tmpfs(spool), Filling(name, terms, SPOOL_DIR=spool) as experiment:
            experiment.expected_errors += ("commit failed",)
            service = experiment.services[0]
            acts: tuple[Callable[[], None], ...] = (
                lambda: None,
                lambda: service.kill_one(experiment.rng),
                service.kill_and_start,
            )
            rounds = experiment.rounds(0.0, 0.5, least=len(acts))
            for _, act in zip(rounds, itertools.cycle(acts), strict=False):
                experiment.s3.stop_listening()
                experiment.await_refusals()
                act()
                experiment.s3.listen_again()
                experiment.await_load()
            return experiment.figures()
    except CannotMountError as error:
        return Figures(name=name, skipped=str(error))


@contextlib.contextmanager
def tmpfs(path: Path, size: int = TMPFS_BYTES) -> Iterator[None]:
    """Have a file system of `size` bytes at `path`.

    Raises:
        CannotMountError: it cannot be had here.
    """
    path.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(path)]
    try:
        subprocess.run(mount, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = (getattr(error, "stderr", None) or str(error)).splitlines()[0]
        raise CannotMountError(f"needs root and a tmpfs: {why}") from error
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)
