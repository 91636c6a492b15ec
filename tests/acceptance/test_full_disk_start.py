"""A service that starts on a full disk, or loses a process on one, goes on and recovers."""

import contextlib
import os
from pathlib import Path

import pytest

from tests.acceptance.service import ServiceFactory, executed
from tests.chaos.runs.full_disk import CannotMountError, tmpfs
from tests.support import wait_until
from tests.support.s3 import FakeS3
from tests.support.service import Service

SECONDS = 30

launch = executed()


def refuses(service: Service) -> bool:
    """Whether the service runs and says that it is not ready."""
    with contextlib.suppress(OSError):
        return service.get("/readyz").status == 503
    return False


def test_a_start_on_a_full_disk_waits_for_room(
    service_factory: ServiceFactory, s3: FakeS3, tmp_path: Path
) -> None:
    """It runs and refuses with the reason; freed, it accepts; a killed process is replaced."""
    service_factory.expected |= {"no directory in the spool", "SPOOL_DIR", "Worker (pid:"}
    place = tmp_path / "disk"
    try:
        with tmpfs(place):
            full_disk_start(service_factory, s3, place)
    except CannotMountError as error:
        pytest.skip(str(error))


def full_disk_start(service_factory: ServiceFactory, s3: FakeS3, place: Path) -> None:
    """Start on a disk that another program fills, on all of its blocks."""
    service = service_factory.make(SPOOL_DIR=place / "spool")
    filler = place / "filler"
    (place / "spool").mkdir()
    fill(filler)
    service.start()
    wait_until(lambda: refuses(service), timeout=SECONDS, what="a red readiness")
    assert "No space" in service.get("/readyz").json()["detail"]
    assert service.post("/payloads", [{}]).status == 503
    os.kill(service.children()[0], 9)
    wait_until(lambda: refuses(service), timeout=SECONDS, what="a red readiness again")
    filler.unlink()
    service.wait_ready()
    assert service.post("/payloads", [{}]).status == 202
    service.wait_stats(lambda stats: stats["stored"] == 1)
    assert len(s3.lines()) == 1
    service.kill_group()


def fill(path: Path) -> None:
    """Write until nothing fits any more."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
