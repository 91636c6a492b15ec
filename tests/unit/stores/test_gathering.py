"""The short wait for a group: only where the last one shows that more will come."""

from tests.unit.stores.segments import Segments, append, settled
from workers.spool.counters import Field
from workers.stores.committer import BUSY_GROUP, GATHER_SECONDS, Committer
from workers.stores.disk_store import DiskStore


def test_only_a_busy_group_makes_the_next_one_wait(store: DiskStore, segments: Segments) -> None:
    """A client alone, or a few, get their answers at once; behind a busy group all wait once."""
    slept: list[float] = []
    committer = Committer(store, sleep=slept.append)
    segment = segments.new()
    waits = []
    for size in (1, BUSY_GROUP - 1, 1, BUSY_GROUP, 1, 1, 2 * BUSY_GROUP, BUSY_GROUP, 1):
        for _ in range(size):
            append(committer, segment)
        committer.step()
        waits.append(len(slept))
    assert waits == [0, 0, 0, 0, 1, 1, 1, 2, 3]
    assert set(slept) == {GATHER_SECONDS}


def test_what_comes_during_the_wait_is_of_the_group(store: DiskStore, segments: Segments) -> None:
    """The wait saves a sync for each collection that comes meanwhile."""
    segment = segments.new()
    late = []
    committer = Committer(store, sleep=lambda _: late.append(append(committer, segment)))
    for _ in range(BUSY_GROUP):
        append(committer, segment)
    committer.step()
    append(committer, segment)
    committer.step()
    assert len(late) == 1
    assert settled(late[0])
    assert store.counters[Field.COMMITS] == 2


def test_the_end_of_a_segment_is_no_collection(store: DiskStore, segments: Segments) -> None:
    """Segments that end behind each other do not make anyone wait."""
    slept: list[float] = []
    committer = Committer(store, sleep=slept.append)
    for _ in range(BUSY_GROUP):
        segment = segments.new()
        append(committer, segment)
        committer.step()
        committer.seal(segment)
    committer.step()
    committer.stop()
    assert not committer.step()
    assert slept == []
