"""Objects that ended processes have stored stay on the console, whenever their heirs end."""

from pathlib import Path

import pytest

from tests.support.figures import process, stored
from workers.figures import published
from workers.figures.published import FIGURES, Published, newest, read_processes


def test_a_kill_right_after_the_start_loses_no_object(tmp_path: Path) -> None:
    """The first thing that a process writes has the objects of those before it."""
    for objects in ([stored(1)], [], []):
        before = Published(tmp_path)
        before.write(process(objects=objects))
        before.close()
    running = Published(tmp_path)
    running.write(process())
    [shown] = read_processes(tmp_path)
    assert shown.objects == running.inherited == [stored(1)]


def test_a_disk_that_fails_during_a_start_loses_no_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is removed only when it is written anew."""
    ended = Published(tmp_path)
    ended.write(process(objects=[stored(1)]))
    ended.close()
    running = Published(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(published, "set_mode", refuse)
        running.write(process())
    assert not running.is_open
    running.write(process())
    assert running.inherited == [stored(1)]
    assert len(list((tmp_path / FIGURES).iterdir())) == 1


def refuse(*_: object) -> None:
    """Fail as a full disk does."""
    raise OSError(28, "No space left on device")


def test_an_object_that_two_have_is_shown_once() -> None:
    """After a kill between writing and removing it is in both files."""
    assert newest([stored(1), stored(2), stored(1)]) == [stored(2), stored(1)]
