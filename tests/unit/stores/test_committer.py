"""The committers: nothing is answered before it is safe."""

from pathlib import Path

import pytest

from tests.unit.stores.segments import Segments, append, path_of, settled
from workers.errors import NotConfirmed
from workers.segments.future import Run
from workers.segments.naming import segment_name
from workers.segments.segment import Header
from workers.spool.counters import Field
from workers.spool.segment_file import READY, SegmentFile
from workers.spool.spool import Spool
from workers.stores.committer import MAX_GROUP, Committer, InlineCommitter
from workers.stores.memory_store import MemoryStore


def test_a_group_is_one_sync(committer: Committer, segments: Segments) -> None:
    """All that came meanwhile is written, each file synced once, and everybody is woken."""
    one, two = segments.new(), segments.new()
    futures = [append(committer, one) for _ in range(5)] + [append(committer, two)]
    assert not any(map(settled, futures))
    assert committer.step()
    for future in futures:
        future.result()
    assert segments.disk.log == ["write", "write", *["sync", "sync_names"] * 2]
    assert (one.lines, one.size, two.lines) == (5, 15, 1)
    assert segments.store.counters[Field.ACCEPTED] == 6
    assert segments.store.counters[Field.ACCEPTED_BYTES] == 18
    assert segments.store.counters[Field.COMMITS] == 1
    assert segments.store.counters[Field.COMMITTED_COLLECTIONS] == 6


def test_many_files_are_one_sync(committer: Committer, segments: Segments) -> None:
    """However many streams a group is for, the disk is waited for once; a few are synced each."""
    many = [segments.new() for _ in range(5)]
    futures = [append(committer, each) for each in many]
    committer.step()
    assert all(map(settled, futures))
    assert segments.disk.log == [*["write"] * 5, "sync_everything"]
    append(committer, many[0], many[1])
    committer.step()
    assert segments.disk.log[6:] == ["write", "write", "sync", "sync"]


def test_what_waits_for_the_disk_is_counted(committer: Committer, segments: Segments) -> None:
    """From the moment it is taken until it is safe, refused ones too."""
    segment = segments.new()
    for _ in range(3):
        append(committer, segment)
    assert committer.waiting_bytes == 9
    committer.step()
    assert committer.waiting_bytes == 0
    append(committer, segment)
    segments.disk.full = True
    committer.step()
    assert committer.waiting_bytes == 0


def test_a_failed_sync_of_everything_ends_acceptance(
    committer: Committer, segments: Segments
) -> None:
    """It is as final as that of one file: no answer, and nothing is accepted any more."""
    many = [segments.new() for _ in range(3)]
    segments.disk.failing = True
    futures = [append(committer, each) for each in many]
    committer.step()
    for future in futures:
        with pytest.raises(NotConfirmed):
            future.result()
    assert segments.store.refusal
    assert [path_of(each).stat().st_size for each in many] == [0, 0, 0]


def test_no_answer_overtakes_the_sync(
    committer: Committer, segments: Segments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk syncs no request is answered and nothing is counted."""
    segment = segments.new()
    future = append(committer, segment)
    seen: list[tuple[bool, int]] = []

    def look(_: object) -> None:
        seen.append((settled(future), segments.store.counters[Field.ACCEPTED]))

    monkeypatch.setattr(segments.disk, "sync", look)
    monkeypatch.setattr(segments.disk, "sync_names", look)
    committer.step()
    assert seen == [(False, 0), (False, 0)]
    assert settled(future)


def test_a_group_is_bounded(committer: Committer, segments: Segments) -> None:
    """A flood does not keep the first in line waiting for the last."""
    segment = segments.new()
    for _ in range(MAX_GROUP + 1):
        append(committer, segment)
    committer.step()
    assert segments.store.counters[Field.ACCEPTED] == MAX_GROUP
    committer.step()
    assert segments.store.counters[Field.ACCEPTED] == MAX_GROUP + 1


def test_a_seal_comes_behind_what_was_appended(committer: Committer, segments: Segments) -> None:
    """A segment is frozen in the step that writes its last lines, and says what it holds."""
    segment = segments.new()
    append(committer, segment)
    committer.seal(segment)
    committer.step()
    assert segment.frozen.is_set()
    assert path_of(segment).suffix == READY
    assert isinstance(segment.body, SegmentFile)
    assert segment.body.read_seal() == (1, 3)


def test_stop_is_behind_everything(committer: Committer, segments: Segments) -> None:
    """The committer ends only when what it was given is done."""
    segment = segments.new()
    future = append(committer, segment)
    committer.seal(segment)
    committer.stop()
    committer.run()
    future.result()
    assert segment.frozen.is_set()


def test_memory_keeps_at_once(tmp_path: Path) -> None:
    """In memory mode a collection is kept, and counted, when `append` returns."""
    store = MemoryStore(Spool(tmp_path / "spool"), max_bytes=1 << 20)
    header = Header(name=segment_name(1), stream="s", bucket="b", key="k", compression="none")
    segment = store.create(header)
    committer = InlineCommitter(store)
    assert committer.is_inline
    committer.append([Run(segment, 1, b"1\n2\n", 2), Run(segment, 3, b"3\n", 1)])
    assert list(segment.body.read()) == [b"1\n2\n", b"3\n"]
    assert (segment.lines, segment.size, store.counters[Field.ACCEPTED]) == (3, 6, 3)
    committer.seal(segment)
    assert segment.frozen.is_set()
    committer.stop()
