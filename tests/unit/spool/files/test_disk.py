"""The disk: what the system is asked for, where no other test would see it refused."""

import errno
from pathlib import Path

import pytest

from workers.spool.disk import BTRFS, EXT, F2FS, XFS, Disk


def test_everything_is_synced_by_any_file(tmp_path: Path) -> None:
    """A descriptor stands for its file system; one that is none is an error, not a silence."""
    disk = Disk()
    file = disk.create(tmp_path / "file")
    disk.write_at(file, [b"line"], 0)
    disk.sync_everything(file)
    disk.close(file)
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        disk.sync_everything(file)
    assert caught.value.errno == errno.EBADF


TMPFS, NFS, FUSE, OVERLAY = 0x01021994, 0x6969, 0x65735546, 0x794C7630


@pytest.mark.parametrize("kind", [EXT, XFS, BTRFS, F2FS, TMPFS, NFS, FUSE, OVERLAY])
def test_a_file_system_is_synced_at_once_only_where_that_is_known_to_work(
    tmp_path: Path, kind: int
) -> None:
    """tmpfs, NFS, FUSE and overlays may sync nothing, or not report that it failed."""

    class OfKind(Disk):
        def kind(self, path: Path) -> int:
            del path
            return kind

    assert OfKind().syncs_everything(tmp_path) == (kind in {EXT, XFS, BTRFS, F2FS})


def test_the_kind_of_a_file_system_is_read() -> None:
    """As statfs(2) says it: /proc is procfs, and what is not there is an error."""
    assert Disk().kind(Path("/proc")) == 0x9FA0
    with pytest.raises(FileNotFoundError):
        Disk().kind(Path("/proc/nowhere"))
    assert not Disk().syncs_everything(Path("/proc/nowhere"))
