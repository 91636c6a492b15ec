"""The lock on a directory, which no removed file undoes, and how older versions are minded."""

import fcntl
import os
from pathlib import Path

import pytest

from workers.spool.disk import lock_directory


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Make a directory to lock."""
    path = tmp_path / "directory"
    path.mkdir()
    return path


def test_a_lock_belongs_to_one(directory: Path) -> None:
    """A lock is had at once or not at all, and again when its owner has let go."""
    lock = lock_directory(directory)
    assert lock is not None
    assert lock_directory(directory) is None
    lock.release()
    again = lock_directory(directory)
    assert again is not None
    again.release()


def test_a_removed_lock_file_frees_nothing(directory: Path) -> None:
    """The lock is on the directory: what cleans up in it takes no lock away, and none is made."""
    lock = lock_directory(directory)
    assert lock is not None
    lock.add_file(directory / "lock")
    (directory / "lock").unlink()
    assert lock_directory(directory) is None
    assert os.listdir(directory) == []
    lock.release()
    again = lock_directory(directory)
    assert again is not None
    assert os.listdir(directory) == []
    again.release()


def test_a_lock_of_an_older_version_is_minded(directory: Path) -> None:
    """A process that holds the lock file only owns the directory, as long as it holds it."""
    old = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o640)
    fcntl.flock(old, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert lock_directory(directory) is None
    os.close(old)
    lock = lock_directory(directory)
    assert lock is not None
    # And the other way round: an older version sees that it is taken.
    old = os.open(directory / "lock", os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(old, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(old)
    lock.release()


def test_a_directory_that_is_replaced_meanwhile_is_not_locked(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened just before its last owner removed it, a directory is not taken for the new one."""
    flock = fcntl.flock

    def replace_then_lock(descriptor: int, kind: int) -> None:
        if directory.exists():
            directory.rmdir()
        flock(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", replace_then_lock)
    assert lock_directory(directory) is None
    assert lock_directory(directory) is None


def test_what_cannot_be_locked_is_an_error(tmp_path: Path) -> None:
    """A path that cannot be locked at all is not mistaken for one that another process has."""
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        lock_directory(tmp_path / "file")
