"""Counters of processes that keep nothing on their machine, added up without a disk."""

from pathlib import Path

from workers.figures.machine import MachineCounters
from workers.spool.counters import Field
from workers.spool.spool import Spool


def test_the_processes_of_a_machine_are_added_up(tmp_path: Path) -> None:
    """Each answers with the sums of all, of those that have ended too."""
    one, other = MachineCounters(Spool(tmp_path)), MachineCounters(Spool(tmp_path))
    one.counters.add(Field.REQUESTS_202, 2)
    other.counters.add(Field.REQUESTS_202, 3)
    assert [each.totals()[Field.REQUESTS_202] for each in (one, other)] == [5, 5]
    other.close()
    assert one.totals()[Field.REQUESTS_202] == 5
    one.close()


def test_of_a_killed_process_counts_stay_and_gauges_go(tmp_path: Path) -> None:
    """The next process takes over what one has counted that did not come to its end."""
    killed = Spool(tmp_path)
    killed.prepare()
    left = killed.create_process_spool()
    left.counters.add(Field.REQUESTS_202, 7)
    left.counters.add(Field.QUEUE_DEPTH, 4)
    left.leave()
    after = MachineCounters(Spool(tmp_path)).totals()
    assert (after[Field.REQUESTS_202], after[Field.QUEUE_DEPTH]) == (7, 0)


def test_without_a_place_a_process_counts_for_itself(tmp_path: Path) -> None:
    """That files cannot be made, or are removed, ends nothing."""
    (tmp_path / "file").touch()
    nowhere = MachineCounters(Spool(tmp_path / "file" / "spool"))
    removed = MachineCounters(Spool(tmp_path / "spool"))
    (tmp_path / "spool").rename(tmp_path / "gone")
    for each in (nowhere, removed, MachineCounters()):
        each.counters.add(Field.COMMITS)
        assert each.totals()[Field.COMMITS] == 1
        each.close()
