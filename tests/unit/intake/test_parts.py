"""A collection over several partitions: placed as a whole, or not at all."""

from functools import partial

import pytest

from tests.support.bench import Bench, MakeBench
from tests.support.doubles import DictBucket
from workers.errors import Full, TooManyPayloads, UnknownStream
from workers.segments.future import Run
from workers.segments.partitions import Part, take_indexes
from workers.spool.counters import Field


@pytest.fixture
def make_bench(make_bench: MakeBench) -> MakeBench:
    """Hand out benches whose streams have partitions."""
    return partial(make_bench, KEY_TEMPLATE="{stream}/a={payload.a}/{segment}")


def part(partition: str, *payloads: int, size: int = 0) -> Part:
    """Make a part of numbered payloads that are padded to a size."""
    lines = b"".join((b'{"n":%d}' % n).ljust(size) + b"\n" for n in payloads)
    return Part(partition, lines, len(payloads), tuple((n, n) for n in payloads))


def take(bench: Bench, *parts: Part) -> list[Run]:
    """Take a collection of parts; return its runs."""
    future = bench.intake.take_parts(parts)
    future.result()
    return future.runs


def test_each_part_has_a_segment_of_its_own(bench: Bench) -> None:
    """The stream is the same, the segments are not; a run says which payloads it has."""
    runs = take(bench, part("s/a", 0, 2), part("s/b", 1))
    first, second = (run.segment for run in runs)
    assert first is not second
    assert first.header.stream == second.header.stream == "s"
    assert [run.indexes for run in runs] == [((0, 0), (2, 2)), ((1, 1),)]
    again = take(bench, part("s/b", 0), part("s/c", 1))
    assert again[0].segment is second
    assert again[0].first_line == 2


def test_a_sealed_partition_is_opened_anew(bench: Bench) -> None:
    """What is sealed makes way in its own partition only."""
    old = take(bench, part("s/a", 0), part("s/b", 1))
    bench.age()
    new = take(bench, part("s/a", 0))
    assert new[0].segment is not old[0].segment
    assert [bench.next_job().segment for _ in range(2)] == [run.segment for run in old]


def test_all_or_nothing(make_bench: MakeBench) -> None:
    """Where one part finds the queue full, the others keep no room either."""
    bench = make_bench(MAX_QUEUE=1, OBJECT_MAX_PAYLOADS=2)
    take(bench, part("s/a", 0), part("s/b", 1))
    held = bench.process_spool.counters[Field.HELD_BYTES]
    with pytest.raises(Full):
        take(bench, part("s/c", 0), part("s/a", 1, 2), part("s/b", 3, 4))
    assert bench.process_spool.counters[Field.HELD_BYTES] == held
    assert len(bench.process_spool.unfinished()) == 2
    assert bench.jobs.empty()


def test_a_part_is_cut_like_a_collection(make_bench: MakeBench) -> None:
    """Each run has its share of the indexes, and what is full becomes a job."""
    bench = make_bench(OBJECT_MAX_PAYLOADS=2)
    runs = take(bench, Part("s/a", b"{}\n" * 5, 5, ((1, 3), (6, 7))), part("s/b", 0, 4, 5))
    assert [run.indexes for run in runs] == [
        ((1, 2),),
        ((3, 3), (6, 6)),
        ((7, 7),),
        ((0, 0), (4, 4)),
        ((5, 5),),
    ]
    assert bench.jobs.qsize() == 3


def test_the_least_recently_used_make_way(make_bench: MakeBench) -> None:
    """As many as are needed are sealed, none that the collection goes to, and they are counted."""
    bench = make_bench(MAX_STREAMS=3)
    a, b, c = (take(bench, part(f"s/{name}", 0))[0].segment for name in "abc")
    take(bench, part("s/a", 0), part("s/d", 1), part("s/e", 2))
    assert [bench.next_job().segment for _ in range(2)] == [b, c]
    assert not a.sealed
    assert bench.process_spool.counters[Field.EARLY_SEALS] == 2


def test_nothing_makes_way_for_what_is_refused(make_bench: MakeBench) -> None:
    """Where the queue has no room for all that would be sealed, nothing is."""
    bench = make_bench(MAX_STREAMS=3, MAX_QUEUE=1)
    for name in "abc":
        take(bench, part(f"s/{name}", 0))
    with pytest.raises(Full, match="3 streams are open already"):
        take(bench, part("s/d", 0), part("s/e", 1))
    assert bench.jobs.empty()
    assert bench.process_spool.counters[Field.EARLY_SEALS] == 0


def test_more_partitions_than_are_open_never_fit(make_bench: MakeBench) -> None:
    """That is no matter of time; as many as there may be are taken."""
    bench = make_bench(MAX_STREAMS=2)
    with pytest.raises(TooManyPayloads, match="more than 2 partitions"):
        take(bench, part("s/a", 0), part("s/b", 1), part("s/c", 2))
    assert len(take(bench, part("s/a", 0), part("s/b", 1))) == 2
    assert len(take(bench, part("s/c", 0), part("s/d", 1))) == 2


def test_a_stream_that_is_not_allowed_is_refused(make_bench: MakeBench) -> None:
    """The stream's name is looked at, not the partition's."""
    bench = make_bench(STREAMS="a")
    take(bench, part("a/x", 0))
    with pytest.raises(UnknownStream, match="no stream b"):
        take(bench, part("b/x", 0))


def test_every_line_is_stored_once(make_bench: MakeBench, bucket: DictBucket) -> None:
    """Many partitions, small segments, few open at a time: each payload is in one object."""
    bench = make_bench(MAX_STREAMS=4, OBJECT_MAX_PAYLOADS=3, COMPRESSION="none")
    for start in range(0, 120, 6):
        lines = range(start, start + 6)
        first = start % 5
        take(bench, *(part(f"s/{first + i}", *lines[i::3]) for i in range(3)))
    bench.upload_all()
    stored = b"".join(body for body, _, _ in bucket.objects.values())
    assert sorted(stored.split()) == sorted(b'{"n":%d}' % n for n in range(120))


@pytest.mark.parametrize("count", range(7))
def test_indexes_are_split_by_count(count: int) -> None:
    """The halves have the same payloads as the whole, in order."""
    indexes = ((0, 2), (5, 5), (7, 8))
    halves = take_indexes(indexes, count)
    flat = [[n for a, b in half or () for n in range(a, b + 1)] for half in halves]
    assert flat == [[0, 1, 2, 5, 7, 8][:count], [0, 1, 2, 5, 7, 8][count:]]
    assert take_indexes(None, count) == (None, None)


def test_a_partition_keeps_its_place_through_a_kill(
    make_bench: MakeBench, bucket: DictBucket
) -> None:
    """Another process, with another template, stores each segment where its receipt says."""
    bench = make_bench(COMPRESSION="none")
    runs = take(bench, part("s/a%2Fb", 0, 2), part("s/..", 1))
    keys = [run.segment.header.key for run in runs]
    bench.die()
    other = make_bench(KEY_TEMPLATE="elsewhere/{segment}")
    other.adopt()
    other.upload_all()
    assert {key: body for key, (body, _, _) in bucket.objects.items()} == {
        keys[0]: b'{"n":0}\n{"n":2}\n',
        keys[1]: b'{"n":1}\n',
    }
    assert keys[0].startswith("s/a=a%2Fb/")


def test_partitions_share_what_is_learnt_of_their_stream(make_bench: MakeBench) -> None:
    """How far payloads compress is the stream's: a partition may have one segment only."""
    bench = make_bench(OBJECT_TARGET_BYTES=4096)
    lines = b"".join(b'{"n":%d}\n' % n for n in range(2000))
    segment = take(bench, Part("s/a", lines[:2000], lines[:2000].count(b"\n")))[0].segment
    segment.estimate.sampled, segment.estimate.most = 1000, 500.0
    before = bench.estimator.profile("s/b", lines)
    bench.estimator.learn(segment, size=1000, stored=430)
    after, other = (bench.estimator.profile(name, lines) for name in ("s/b", "t/b"))
    assert before is not None
    assert after is not None
    assert other is not None
    likely = [each.sizes(0, len(lines)).likely for each in (before, after, other)]
    assert likely[1] < 0.9 * likely[0]
    assert likely[2] > 0.95 * likely[0]
