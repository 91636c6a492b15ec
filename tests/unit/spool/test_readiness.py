"""The store says why not even a small collection would be kept, and when that is over."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.bench import MakeBench
from tests.support.doubles import BadDisk
from workers.errors import NotDurable, SpoolError
from workers.spool.room import LEAST_RESERVED_BYTES
from workers.spool.spool import Spool


def test_a_full_disk_shows_before_anything_is_refused(make_bench: MakeBench) -> None:
    """What is left of the disk is looked at, and not only what fails."""
    disk = BadDisk()
    bench = make_bench(disk)
    disk.free = LEAST_RESERVED_BYTES
    bench.store.check()
    assert bench.intake.refusal() == "the disk is full"
    disk.free = None
    bench.store.check()
    assert bench.intake.refusal() is None


def test_a_read_only_disk_shows(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that was remounted read-only is red with its reason, and green again later."""
    bench = make_bench()

    def create(path: Path) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(bench.disk, "is_read_only", lambda _: True)
        patch.setattr(bench.disk, "create", create)
        bench.store.check()
        assert "Read-only" in str(bench.intake.refusal())
        with pytest.raises(NotDurable, match="Read-only"):
            bench.intake.take("s", b"{}\n", count=1)
    bench.store.check()
    assert bench.intake.refusal() is None


@pytest.mark.parametrize(("number", "may_pass"), [(errno.ENOSPC, True), (errno.EACCES, False)])
def test_what_no_retry_mends_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, number: int, may_pass: bool
) -> None:
    """A full disk may pass; a directory that may not be written is a wrong setting."""
    spool = Spool(tmp_path / "spool")

    def fail(_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(spool.disk, "sync_directory", fail)
    with pytest.raises(SpoolError) as raised:
        spool.prepare()
    assert raised.value.may_pass is may_pass
