"""Ten minutes of the service's counts, shared by its processes."""

from pathlib import Path

from workers.figures.history import HISTORY, SLOTS, STEP_SECONDS, History
from workers.figures.published import FIGURES
from workers.spool.counters import CELLS, Field, Totals


class Clock:
    """A clock that a test sets."""

    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def totals(**counts: int) -> Totals:
    """Make sums."""
    cells = [0] * CELLS
    for name, count in counts.items():
        cells[Field[name]] = count
    return Totals([cells])


def test_the_first_of_several_processes_writes_a_moment(tmp_path: Path) -> None:
    """One writes each moment, and the others do not even ask for the sums."""
    clock, asked = Clock(), []

    def ask() -> Totals:
        asked.append(1)
        return totals(ACCEPTED=len(asked), REQUESTS_400=2, REQUESTS_503=3, REQUESTS_202=9)

    one, two = History(tmp_path, now=clock), History(tmp_path, now=clock)
    for _ in range(3):
        for history in (one, two, one):
            history.note(ask)
        clock.now += STEP_SECONDS
    assert len(asked) == 3
    assert [moment.accepted for moment in two.read()] == [1, 2, 3]
    assert two.read()[0].refused == 5


def test_what_is_older_than_ten_minutes_is_gone(tmp_path: Path) -> None:
    """The file does not grow: a slot is used again, and an old one is not shown."""
    clock = Clock()
    history = History(tmp_path, now=clock)
    for number in range(SLOTS + 10):
        history.note(lambda number=number: totals(ACCEPTED=number))  # type: ignore[misc]
        clock.now += STEP_SECONDS
    seen = history.read()
    assert len(seen) == SLOTS - 1
    assert seen[-1].accepted == SLOTS + 9
    assert [moment.at for moment in seen] == sorted(moment.at for moment in seen)
    assert (tmp_path / FIGURES / HISTORY).stat().st_size == SLOTS * 64
    clock.now += SLOTS * STEP_SECONDS
    assert history.read() == []


def test_a_slot_that_is_torn_is_left_out(tmp_path: Path) -> None:
    """Two processes that write one slot at one time make at most a gap."""
    clock = Clock()
    history = History(tmp_path, now=clock)
    for _ in range(2):
        history.note(lambda: totals(ACCEPTED=5))
        clock.now += STEP_SECONDS
    file = tmp_path / FIGURES / HISTORY
    content = bytearray(file.read_bytes())
    content[content.index(5)] = 6
    file.write_bytes(content)
    assert [moment.accepted for moment in history.read()] == [5]
