"""A collection whose partitions are all open: its parts join their segments, all or none."""

from functools import partial

import pytest

from tests.support.bench import MakeBench
from tests.unit.intake.test_parts import part, take
from workers.errors import Full
from workers.segments.segment import RUN_BYTES
from workers.spool.counters import Field


@pytest.fixture
def make_bench(make_bench: MakeBench) -> MakeBench:
    """Hand out benches whose streams have partitions."""
    return partial(make_bench, KEY_TEMPLATE="{stream}/a={payload.a}/{segment}")


def test_parts_join_what_is_open(make_bench: MakeBench) -> None:
    """Each goes on in its partition's segment, with its indexes, and takes its share of memory."""
    bench = make_bench()
    before = take(bench, part("s/a", 0, 2), part("s/b", 1))
    held = bench.process_spool.counters[Field.HELD_BYTES]
    after = take(bench, part("s/b", 0, 1, 3), part("s/a", 2))
    assert [run.segment for run in after] == [run.segment for run in reversed(before)]
    assert [(run.first_line, run.count) for run in after] == [(2, 3), (3, 1)]
    assert [run.indexes for run in after] == [((0, 0), (1, 1), (3, 3)), ((2, 2),)]
    size = sum(len(run.lines) + RUN_BYTES for run in after)
    assert bench.process_spool.counters[Field.HELD_BYTES] == held + size


def test_one_that_is_full_makes_way_for_its_own(make_bench: MakeBench) -> None:
    """Where one of the segments has no room, the others are joined all the same."""
    bench = make_bench(OBJECT_MAX_PAYLOADS=4)
    first = take(bench, part("s/a", 0, 1, 2), part("s/b", 3))
    again = take(bench, part("s/a", 0, 1), part("s/b", 2))
    assert again[0].segment is not first[0].segment
    assert again[1].segment is first[1].segment
    assert bench.next_job().segment is first[0].segment


def test_together_they_are_within_the_budget(make_bench: MakeBench) -> None:
    """Parts that would fit one by one are refused together, and none keeps its room."""
    bench = make_bench(SPOOL_MAX_BYTES=1 << 20)
    take(bench, part("s/a", 0), part("s/b", 1))
    for n in range(3):
        take(bench, part("s/c", n, size=200_000))
    held = bench.process_spool.counters[Field.HELD_BYTES]
    with pytest.raises(Full, match="budget"):
        take(bench, part("s/a", 0, size=250_000), part("s/b", 1, size=250_000))
    runs = take(bench, part("s/a", 0), part("s/b", 1))
    assert [run.first_line for run in runs] == [2, 2]
    assert bench.process_spool.counters[Field.HELD_BYTES] == held + sum(
        len(run.lines) + RUN_BYTES for run in runs
    )
