"""The spool's owner on a running service: other users, and what cleans up in the directory."""

import os
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.acceptance.service import QUICK, ServiceFactory, assert_promise_kept, settle
from tests.support import ROOT
from tests.support.flood import Flood, Plan
from tests.support.s3 import FakeS3
from tests.support.service import Service

NOBODY = 65534


def test_removed_lock_files_lose_nothing(service_factory: ServiceFactory, s3: FakeS3) -> None:
    """A cleaner removes every lock file under load; a second service adopts none of the living."""
    service = service_factory.start(WEB_CONCURRENCY=2)
    flood = Flood(service.port, Plan(threads=2, payloads=(1, 5), pause_seconds=0.002))
    flood.start()
    flood.wait_for("acked", 100)
    locks = [service.spool_dir / "lock", *service.spool_dir.glob("*/lock")]
    assert len(locks) == 3
    for lock in locks:
        lock.unlink()
    other = service_factory.start(SPOOL_DIR=service.spool_dir)
    flood.wait_for("acked", 300)
    flood.stop()
    flood.join()
    assert_promise_kept(service, s3, flood)
    assert not [event for event in other.logs().events if event["event"] == "adopted a home"]


class OtherUser(Service):
    """A service that root starts for the user nobody, by a Python that this user can read."""

    python = ""

    def command(self) -> Sequence[str]:
        arguments = ["--user", str(NOBODY), "--group", str(NOBODY), *super().command()[1:]]
        return [self.python, "-m", "gunicorn", *arguments]

    def environ(self) -> dict[str, str]:
        return {**super().environ(), "PYTHONPATH": sysconfig.get_path("purelib")}


def readable_python() -> str | None:
    """Return a Python like this one that every user may run."""
    candidates = (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}")
    return next((path for path in candidates if _is_open(Path(path).resolve())), None)


def _is_open(path: Path) -> bool:
    return all(each.exists() and each.stat().st_mode & 0o001 for each in (path, *path.parents))


def test_root_starts_a_service_of_another_user(s3: FakeS3) -> None:
    """`--user` from root: the spool that the master makes belongs to the processes' user."""
    if os.geteuid() != 0:
        pytest.skip("another user needs root")
    OtherUser.python = readable_python() or ""
    if not OtherUser.python or not _is_open(ROOT):
        pytest.skip("another user can read no Python, or not this checkout")
    # pytest's own directories are for their user alone.
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        settings = {**QUICK, "SPOOL_DIR": Path(directory, "spool")}
        with OtherUser(Path(directory), s3, settings=settings) as service:
            answer = service.post("/payloads", {"token": "t", "payloads": [{"n": 1}]})
            assert answer.status == 202
            assert settle(service)["stored"] == 1
            owners = {path.stat().st_uid for path in service.spool_dir.glob("**/*")}
            assert owners == {service.spool_dir.stat().st_uid} == {NOBODY}


def test_a_disk_smaller_than_the_spool_may_grow_is_a_warning(
    service_factory: ServiceFactory,
) -> None:
    """Once for the whole service, whatever the number of its processes."""
    service = service_factory.start(SPOOL_MAX_BYTES=1 << 50, WEB_CONCURRENCY=2)
    warnings = [event for event in service.logs().events if event["level"] == "WARNING"]
    assert [event["event"] for event in warnings] == ["the spool directory is in doubt"]
    assert "SPOOL_MAX_BYTES" in warnings[0]["reason"]
