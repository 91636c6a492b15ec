"""The size of objects: near the target, and never far over it, however far the lines compress."""

import base64
import itertools
import random
from collections.abc import Iterator

import pytest

from tests.support.bench import Bench, MakeBench
from tests.support.doubles import DictBucket
from workers.segments.ratios import MAX_FACTOR

TARGET = 100_000
CHANCE = random.Random()


@pytest.fixture(autouse=True)
def _the_same_chance() -> None:
    """Draw the same lines, and take the same samples of them, after any other test."""
    CHANCE.seed(8)
    random.seed(8)


def noise(size: int) -> bytes:
    """Make a payload that hardly compresses: letters that are drawn from 64."""
    return b'"%b"' % base64.urlsafe_b64encode(CHANCE.randbytes(size))[:size]


def same(size: int) -> bytes:
    """Make a payload of one letter, again and again."""
    return b'"%b"' % (b"a" * size)


def event() -> bytes:
    """Make a payload as many are: half of it the same as in any other."""
    return b'{"id":"%032x","event":"page viewed","path":"/cart/items"}' % CHANCE.getrandbits(128)


def sizes(bench: Bench, bucket: DictBucket) -> list[int]:
    """Upload everything; return the objects' sizes, oldest first."""
    bench.upload_all()
    return [len(bucket.objects[key][0]) for key in sorted(bucket.objects)]


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("count", [1, 20, 50])
def test_steady_traffic_makes_objects_of_the_target(
    make_bench: MakeBench, bucket: DictBucket, compression: str, count: int
) -> None:
    """From the second on, objects are within 10 % of the target, for requests of each size."""
    bench = make_bench(OBJECT_TARGET_BYTES=TARGET, COMPRESSION=compression)
    while len(bucket.objects) < 5:
        bench.accept(*[event() for _ in range(count)])
        while not bench.jobs.empty():
            bench.upload(bench.next_job())
    found = sizes(bench, bucket)[1:5]
    assert all(0.9 * TARGET <= size <= 1.1 * TARGET for size in found), found


def shifts(kind: str) -> Iterator[bytes]:
    """Yield payloads whose compressibility changes; 5 MB of them."""
    match kind:
        case "large then noise":
            yield same(1_500_000)
            yield from (noise(1000) for _ in range(3500))
        case "small then noise":
            yield from (same(200) for _ in range(5000))
            yield from (noise(200) for _ in range(20_000))
        case "noise then small":
            yield from (noise(200) for _ in range(5000))
            yield from (same(200) for _ in range(20_000))
        case "by turns":
            for _ in range(50):
                yield from (same(5000) for _ in range(10))
                yield from (noise(5000) for _ in range(10))
        case "at random":
            for _ in range(500):
                yield CHANCE.choice([same, noise])(CHANCE.choice([10, 1000, 20_000]))
        case "growing":
            yield from (noise(size) for size in range(100, 3000))


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize(
    "kind",
    [
        "large then noise",
        "small then noise",
        "noise then small",
        "by turns",
        "at random",
        "growing",
    ],
)
def test_no_object_is_far_over_the_target(
    make_bench: MakeBench, bucket: DictBucket, *, kind: str, compression: str
) -> None:
    """For every compressibility before, and every change of it."""
    bench = make_bench(OBJECT_TARGET_BYTES=TARGET, COMPRESSION=compression)
    payloads = shifts(kind)
    while some := list(itertools.islice(payloads, CHANCE.choice([1, 10, 100]))):
        bench.accept(*some)
    found = sizes(bench, bucket)
    assert max(found) <= TARGET * MAX_FACTOR, found
    assert len(found) > 1


def test_a_payload_larger_than_an_object_is_alone(
    make_bench: MakeBench, bucket: DictBucket
) -> None:
    """What cannot be cut is an object by itself, so that it exceeds the target by nothing else."""
    bench = make_bench(OBJECT_TARGET_BYTES=TARGET)
    before, large, after = bench.accept(*[event()] * 9, noise(5 * TARGET), *[event()] * 8)
    assert (before.count, large.count, after.count) == (9, 1, 8)
    [small] = bench.accept(event())
    assert small.header is after.header
    found = sizes(bench, bucket)
    assert 3 * TARGET < max(found) < 5 * TARGET
    assert len(found) == 3


def test_a_large_collection_is_cut_where_it_compresses_otherwise(
    make_bench: MakeBench, bucket: DictBucket
) -> None:
    """What compresses well goes into one object, and what does not into as many as it takes."""
    bench = make_bench(OBJECT_TARGET_BYTES=TARGET)
    receipts = bench.accept(*[same(1000)] * 1000, *[noise(1000) for _ in range(500)])
    assert receipts[0].count > 1000
    assert len(receipts) >= 4
    assert max(sizes(bench, bucket)) <= TARGET * MAX_FACTOR
