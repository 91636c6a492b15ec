"""Where the intake places collections: streams, order, cuts, the size of an object."""

import random

from tests.support.bench import Bench, MakeBench, balance
from tests.support.doubles import DictBucket
from tests.unit.intake.samples import payloads, places
from workers.errors import Refusal
from workers.upload.compression import unpack


def test_collections_follow_each_other(bench: Bench) -> None:
    """Lines are numbered from 1, on and on through the collections of one segment."""
    [[one], [two], [three]] = places(bench, 2, 3, 1)
    assert one[0] == two[0] == three[0]
    assert [each[1:] for each in (one, two, three)] == [(1, 2), (3, 3), (6, 1)]


def test_streams_have_segments_of_their_own(bench: Bench) -> None:
    """A stream's payloads are in the stream's objects only."""
    [a], [b] = bench.accept(b"{}", stream="a"), bench.accept(b"{}", stream="b")
    assert (a.header.stream, b.header.stream) == ("a", "b")
    assert a.header.name != b.header.name
    assert a.header.key.startswith("a/dt=")
    assert b.header.key.startswith("b/dt=")


def test_a_full_segment_becomes_a_job(make_bench: MakeBench) -> None:
    """The last line that fits seals the segment, without waiting for its age."""
    bench = make_bench(OBJECT_MAX_PAYLOADS=5)
    [[one], [two]] = places(bench, 3, 2)
    assert one[0] == two[0]
    assert bench.next_job().segment.name == one[0]
    [[three]] = places(bench, 1)
    assert (three[0] != one[0], three[1]) == (True, 1)


def test_a_collection_stays_together(make_bench: MakeBench) -> None:
    """What does not fit any more goes whole into the next segment; the one before is sealed."""
    bench = make_bench(OBJECT_MAX_PAYLOADS=5)
    [[one], [two]] = places(bench, 3, 4)
    assert (two[0] != one[0], two[1:]) == (True, (1, 4))
    assert bench.next_job().segment.name == one[0]
    assert bench.jobs.empty()


def test_what_fits_in_no_segment_is_cut(make_bench: MakeBench) -> None:
    """A collection larger than an object is cut between payloads, in order."""
    bench = make_bench(OBJECT_MAX_PAYLOADS=5)
    [[one], cut] = places(bench, 1, 12)
    assert [each[1:] for each in cut] == [(1, 5), (1, 5), (1, 2)]
    names = [one[0], *(each[0] for each in cut)]
    assert [bench.next_job().segment.name for _ in range(3)] == names[:3]
    assert sorted(names) == names


def test_a_collection_is_cut_by_size(make_bench: MakeBench) -> None:
    """No object is larger than its target, but for a payload that is larger by itself."""
    bench = make_bench(OBJECT_TARGET_BYTES=1024, COMPRESSION="none")
    receipts = bench.accept(*payloads(5, size=400), *payloads(1, size=3000), *payloads(1))
    assert [receipt.count for receipt in receipts] == [2, 2, 1, 1, 1]


def test_one_payload_an_object(make_bench: MakeBench) -> None:
    """With OBJECT_MAX_PAYLOADS=1 each payload is its own segment, job and object."""
    bench = make_bench(OBJECT_MAX_PAYLOADS=1)
    [receipts] = places(bench, 4)
    assert [receipt[1:] for receipt in receipts] == [(1, 1)] * 4
    assert [bench.next_job().segment.name for _ in range(4)] == [r[0] for r in receipts]


def test_every_receipt_is_right(make_bench: MakeBench, bucket: DictBucket) -> None:
    """With random traffic each receipt names its own payloads, and all are stored once."""
    chance = random.Random(20)
    bench = make_bench(OBJECT_MAX_PAYLOADS=7, OBJECT_TARGET_BYTES=1024, MAX_QUEUE=6, MAX_STREAMS=3)
    given: list[tuple[str, int, list[bytes]]] = []
    serial = refused = 0
    for _ in range(300):
        count = chance.choice([1, 2, 3, 7, 8, 20])
        lines = [
            b'{"id":%d,"pad":"%s"}' % (serial + n, b"x" * chance.randrange(200))
            for n in range(count)
        ]
        try:
            receipts = bench.accept(*lines, stream=chance.choice("abcd"))
        except Refusal:
            refused += 1
        else:
            serial += count
            for receipt in receipts:
                given.append((receipt.header.key, receipt.first_line, lines[: receipt.count]))
                lines = lines[receipt.count :]
            assert lines == []
        if chance.random() < 0.5 and not bench.jobs.empty():
            bench.uploader.upload(bench.next_job())
        if chance.random() < 0.1:
            bench.age()
    while bench.process_spool.unfinished():
        bench.upload_all()
    stored = {
        key: unpack(body, compression=encoding).splitlines()
        for key, (body, _, encoding) in bucket.objects.items()
    }
    for key, first, lines in given:
        assert stored[key][first - 1 : first - 1 + len(lines)] == lines
    assert sum(map(len, stored.values())) == serial
    assert balance(bench.totals()) == (serial, serial, 0, 0)
    assert refused
