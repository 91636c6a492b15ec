"""What a process shows in the spool: read whole, gone with the process, its objects inherited."""

import os
from pathlib import Path

from tests.support.figures import process, stored
from workers.figures.published import FIGURES, FILE, MAX_OBJECTS, Published, read_processes


def test_what_is_written_last_is_read(tmp_path: Path) -> None:
    """Each process's latest figures are read, in the order of their starts."""
    one, two = Published(tmp_path), Published(tmp_path)
    two.write(process(started_at=2.0, queued=7))
    one.write(process(started_at=1.0, refusal="x" * 5000))
    one.write(process(started_at=1.0))
    assert read_processes(tmp_path) == [process(started_at=1.0), process(started_at=2.0, queued=7)]


def test_a_process_that_was_killed_is_not_shown(tmp_path: Path) -> None:
    """The kernel releases the lock of one that is killed: its file alone is no process."""
    published = Published(tmp_path)
    published.write(process())
    child = os.fork()
    if child == 0:
        Published(tmp_path).write(process(pid=os.getpid()))
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    assert len(list((tmp_path / FIGURES).iterdir())) == 2
    assert [each.pid for each in read_processes(tmp_path)] == [os.getpid()]


def test_the_next_process_has_the_objects_and_removes_the_file(tmp_path: Path) -> None:
    """The last objects are shown after a restart; what ended processes left does not pile up."""
    for start in range(2):
        ended = Published(tmp_path)
        ended.write(process(objects=[stored(start * 100 + n) for n in range(40)]))
        running = Published(tmp_path)
        ended.close()
        running.write(process())
    assert len(running.inherited) == 40
    assert running.inherited[0] == stored(139)
    assert len(running.inherited) <= MAX_OBJECTS
    assert len(read_processes(tmp_path)) == 2
    assert len(list((tmp_path / FIGURES).iterdir())) == 2


def test_what_is_half_written_is_not_believed(tmp_path: Path) -> None:
    """A torn file, an empty one and one of another version are no figures, and no error."""
    published = Published(tmp_path)
    published.write(process())
    [file] = (tmp_path / FIGURES).glob(f"*/{FILE}")
    whole = file.read_bytes()
    for content in (b"", whole[:20], whole.replace(b"queued", b"queueD")):
        file.write_bytes(content)
        assert read_processes(tmp_path) == []


def test_a_disk_that_takes_nothing_is_no_error(tmp_path: Path) -> None:
    """Figures are not written to where there is no directory, and written once there is one."""
    place = tmp_path / "spool"
    place.write_text("a file")
    published = Published(place)
    published.write(process())
    assert read_processes(place) == []
    place.unlink()
    published.write(process())
    assert read_processes(place) == [process()]
