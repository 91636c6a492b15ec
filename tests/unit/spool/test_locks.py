"""Locks on files, as the file systems we know grant them."""

import errno
import os
from pathlib import Path

import pytest

from workers.spool.disk import try_lock


def test_a_lock_belongs_to_one(tmp_path: Path) -> None:
    """A lock is had at once or not at all, and again when its owner has let go."""
    lock = try_lock(tmp_path / "lock")
    assert lock is not None
    assert try_lock(tmp_path / "lock") is None
    os.close(lock)
    again = try_lock(tmp_path / "lock")
    assert again is not None
    os.close(again)


def test_a_lock_on_a_file_that_is_gone_guards_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened just before its last owner removed it, a lock file is not taken for a lock."""
    open_file = os.open

    def open_then_lose(path: Path, *how: int) -> int:
        descriptor = open_file(path, *how)
        path.unlink()
        return descriptor

    monkeypatch.setattr(os, "open", open_then_lose)
    assert try_lock(tmp_path / "lock") is None


def test_a_lock_that_the_file_system_lacks_is_an_error(tmp_path: Path) -> None:
    """A path that cannot be locked at all is not mistaken for one that somebody has locked."""
    with pytest.raises(OSError, match=os.strerror(errno.EISDIR)):
        try_lock(tmp_path)
