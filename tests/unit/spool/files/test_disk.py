"""The disk: what the system is asked for, where no other test would see it refused."""

import errno
from pathlib import Path

import pytest

from workers.spool.disk import Disk


def test_everything_is_synced_by_any_file(tmp_path: Path) -> None:
    """A descriptor stands for its file system; one that is none is an error, not a silence."""
    disk = Disk()
    assert disk.syncs_everything
    file = disk.create(tmp_path / "file")
    disk.append(file, [b"line"])
    disk.sync_everything(file)
    disk.close(file)
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        disk.sync_everything(file)
    assert caught.value.errno == errno.EBADF
