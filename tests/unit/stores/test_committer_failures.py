"""The committer on a disk that fails or is full: a failure is never half a promise."""

import os
import resource

import pytest

from tests.unit.stores.segments import Segments, append, path_of
from workers.errors import NotConfirmed, NotDurable
from workers.spool.counters import Field
from workers.spool.segment_file import OPEN
from workers.stores.committer import Committer


def test_a_full_disk_refuses_the_group(committer: Committer, segments: Segments) -> None:
    """None of the group is kept, what was there before is, and the next segment works again."""
    segment = segments.new()
    before = append(committer, segment)
    committer.step()
    segments.disk.full = True
    futures = [append(committer, segment), append(committer, segments.new())]
    committer.step()
    for future in futures:
        with pytest.raises(NotDurable, match="No space"):
            future.result()
    assert "No space" in str(segments.store.refusal)
    segments.disk.full = False
    segments.store.check()
    assert not segments.store.refusal
    committer.seal(segment)
    after = append(committer, segments.new())
    committer.step()
    before.result()
    after.result()
    assert segments.store.counters[Field.ACCEPTED] == 2
    assert list(segment.body.read()) == [b"{}\n"]


def test_a_roll_back_needs_no_new_descriptor(committer: Committer, segments: Segments) -> None:
    """Where a process has no descriptor left for a new segment, the group is undone; it goes on."""
    segment = segments.new()
    append(committer, segment)
    committer.step()
    futures = [append(committer, segment), append(committer, segments.new())]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(first_free := os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (first_free, limits[1]))
    try:
        committer.step()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    for future in futures:
        with pytest.raises(NotDurable, match="Too many open files"):
            future.result()
    segments.store.check()
    after = append(committer, segments.new())
    committer.step()
    after.result()
    assert path_of(segment).read_bytes().count(b"{}\n") == 1


def test_what_was_behind_lost_lines_is_refused(committer: Committer, segments: Segments) -> None:
    """Lines that were given numbers behind lines that never came are not kept under them."""
    segment = segments.new()
    segments.disk.full = True
    first = append(committer, segment)
    committer.step()
    segments.disk.full = False
    second = append(committer, segment)
    committer.step()
    for future in (first, second):
        with pytest.raises(NotDurable):
            future.result()
    assert segment.write_failed
    assert segment.lines == 0


def test_a_refused_collection_spoils_all_its_segments(
    committer: Committer, segments: Segments
) -> None:
    """Refused for one of its segments, a collection leaves a gap in the other one, too."""
    one, two = segments.new(), segments.new()
    segments.disk.full = True
    append(committer, one)
    committer.step()
    segments.disk.full = False
    spanning = append(committer, one, two)
    behind = append(committer, two)
    committer.step()
    for future in (spanning, behind):
        with pytest.raises(NotDurable):
            future.result()
    assert two.write_failed
    assert two.lines == 0


def test_a_failed_sync_ends_acceptance_for_good(committer: Committer, segments: Segments) -> None:
    """After EIO the contents of the disk are unknown: no answer, now or later."""
    segments.disk.failing = True
    futures = [append(committer, segments.new())]
    committer.step()
    segments.disk.failing = False
    futures.append(append(committer, segments.new()))
    committer.step()
    for future, error in zip(futures, (NotConfirmed, NotDurable), strict=True):
        with pytest.raises(error, match="spool failed"):
            future.result()
    segments.store.check()
    assert "restart" in str(segments.store.refusal)
    assert segments.store.counters[Field.ACCEPTED] == 0
    assert segments.disk.log.count("sync") == 1


@pytest.mark.parametrize("when", ["with lines", "at its seal", "behind another"])
def test_nothing_waits_for_a_broken_spool(
    committer: Committer, segments: Segments, when: str
) -> None:
    """Every sealed segment is let go, unready: its worker gives it up, and the file stays."""
    segment = segments.new()
    append(committer, segment)
    if when != "with lines":
        committer.step()
    segments.disk.failing = True
    if when == "behind another":
        append(committer, segments.new())
    committer.seal(segment)
    committer.step()
    assert segment.frozen.is_set()
    assert path_of(segment).suffix == OPEN
    assert path_of(segment).exists()
