"""The counters of `DURABILITY=stored` are where every user may write: only its own are believed."""

import os
from pathlib import Path

import pytest

from workers.errors import SpoolError
from workers.settings.stored import make_own

MINE = os.geteuid()


def test_an_own_directory_is_taken(tmp_path: Path) -> None:
    """It is made, and taken again at the next start."""
    own = tmp_path / "own"
    for _ in range(2):
        make_own(own, owner=MINE)
        assert own.is_dir()


def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    """Somebody who knows its name may have made it first."""
    own = tmp_path / "own"
    own.mkdir(mode=0o700)
    if MINE == 0:
        os.chown(own, 65534, 65534)
        with pytest.raises(SpoolError, match="another user"):
            make_own(own, owner=MINE)
    else:
        with pytest.raises(SpoolError, match="another user"):
            make_own(Path("/"), owner=MINE)


def test_a_link_is_refused(tmp_path: Path) -> None:
    """It may lead anywhere."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    with pytest.raises(SpoolError, match="another user"):
        make_own(link, owner=MINE)


def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    """What is in it may be theirs."""
    loose = tmp_path / "loose"
    loose.mkdir()
    loose.chmod(0o777)
    with pytest.raises(SpoolError, match="written by others"):
        make_own(loose, owner=MINE)
