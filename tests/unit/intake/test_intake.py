"""The intake: where collections go, when segments become jobs, and what is refused."""

import random
from collections.abc import Callable

import pytest

from tests.conftest import BadDisk, Bench, DictBucket, balance
from workers.errors import Draining, Full, NotConfirmed, NotDurable, Refusal, TooManyPayloads
from workers.intake import intake
from workers.intake.intake import FULL_ENOUGH
from workers.segments.ratios import Ratios
from workers.spool.counters import Field
from workers.upload.compression import unpack

MakeBench = Callable[..., Bench]


def payloads(count: int, *, size: int = 10) -> list[bytes]:
    """Make payloads of a size, their newline included."""
    return [b'{"n":"%s"}' % (b"x" * (size - 9))] * count


def places(bench: Bench, *counts: int) -> list[list[tuple[str, int, int]]]:
    """Accept collections of so many payloads; return each one's receipts."""
    return [
        [(r.header.name, r.first_line, r.count) for r in bench.accept(*payloads(count))]
        for count in counts
    ]


def flood(bench: Bench, *collection: bytes) -> None:
    """Send the same collection until it is refused, a thousand times at most."""
    for _ in range(1000):
        bench.accept(*collection)


def test_a_disk_that_stands_still_does_not_fill_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that wait for it are bounded; as soon as it goes on, more are taken."""
    monkeypatch.setattr(intake, "MAX_WAITING_BYTES", 100)
    monkeypatch.setattr(type(bench.committer), "waiting_bytes", 101)
    with pytest.raises(Full, match="the disk is behind"):
        bench.accept(b"{}")
    assert bench.intake.refusal() == "the disk is behind"
    monkeypatch.setattr(type(bench.committer), "waiting_bytes", 100)
    bench.accept(b"{}")
    assert bench.intake.refusal() is None


# --- Into segments --------------------------------------------------------------------------------


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
    bench = make_bench(OBJECT_TARGET_BYTES=1024)
    receipts = bench.accept(*payloads(5, size=400), *payloads(1, size=3000), *payloads(1))
    assert [receipt.count for receipt in receipts] == [2, 2, 1, 1, 1]


def test_one_payload_an_object(make_bench: MakeBench) -> None:
    """With OBJECT_MAX_PAYLOADS=1 each payload is its own segment, job and object."""
    bench = make_bench(OBJECT_MAX_PAYLOADS=1)
    [receipts] = places(bench, 4)
    assert [receipt[1:] for receipt in receipts] == [(1, 1)] * 4
    assert [bench.next_job().segment.name for _ in range(4)] == [r[0] for r in receipts]


def test_the_target_is_of_the_compressed_object(make_bench: MakeBench) -> None:
    """A stream that compresses tenfold fills segments of ten times the target."""
    bench = make_bench(OBJECT_TARGET_BYTES=10_000)
    bench.ratios.learn("s", size=10_000, stored=1_000)
    held = 0
    while bench.jobs.empty():
        held += bench.accept(*payloads(10, size=100))[0].count * 100
    assert FULL_ENOUGH * 100_000 <= held <= 100_000


def test_steady_traffic_makes_objects_of_the_target(
    make_bench: MakeBench, bucket: DictBucket
) -> None:
    """After the first, of which nothing is known, stored objects are within 10 % of the target."""
    chance = random.Random(20)
    bench = make_bench(OBJECT_TARGET_BYTES=20_000)
    while len(bucket.objects) < 8:
        pad = b"%030x" % chance.getrandbits(120)
        bench.accept(*[b'{"id":"%s","text":"the same again and again"}' % pad] * 3)
        while not bench.jobs.empty():
            bench.uploader.upload(bench.next_job())
    sizes = [len(bucket.objects[key][0]) for key in sorted(bucket.objects)]
    assert all(18_000 <= size <= 22_000 for size in sizes[2:]), sizes


def test_ratios_follow_what_is_stored() -> None:
    """A stream's ratio moves with its last objects, and one stream's says nothing of another's."""
    ratios = Ratios(most=8)
    assert ratios["s"] == 1
    ratios.learn("s", size=100, stored=10)
    assert ratios["s"] == 10
    ratios.learn("s", size=100, stored=50)
    assert ratios["s"] == 6
    ratios.learn("t", size=100, stored=0)
    assert (ratios["s"], ratios["t"]) == (6, 100)


# --- Sealed by age --------------------------------------------------------------------------------


def test_age_seals_while_there_is_room(make_bench: MakeBench) -> None:
    """Old segments become jobs, oldest first, as far as the queue has room for them."""
    bench = make_bench(MAX_QUEUE=2)
    names = [bench.accept(b"{}", stream=stream)[0].header.name for stream in "abc"]
    bench.age()
    assert [bench.next_job().segment.name for _ in range(2)] == names[:2]
    assert bench.jobs.empty()
    bench.intake.seal_due()
    assert bench.next_job().segment.name == names[2]


def test_it_says_when_the_next_is_due(make_bench: MakeBench) -> None:
    """The sealer is told how long to sleep: until the oldest segment is old enough."""
    bench = make_bench(OBJECT_MAX_AGE_SECONDS=100)
    assert bench.intake.seal_due() is None
    for stream in "ab":
        bench.accept(b"{}", stream=stream)
    old, young = bench.process_spool.unfinished()
    old.created_at -= 60
    young.created_at -= 30
    due = bench.intake.seal_due()
    assert due is not None
    assert 39 < due <= 40
    old.created_at -= 60
    due = bench.intake.seal_due()
    assert due is not None
    assert 69 < due <= 70
    bench.intake.close()
    assert bench.intake.seal_due() is None


def test_a_segment_that_waits_for_room_waits_for_nothing_else(make_bench: MakeBench) -> None:
    """With the queue full no time is named: it is room that will wake the sealer."""
    bench = make_bench(MAX_QUEUE=1, OBJECT_MAX_PAYLOADS=1)
    places(bench, 1, 1)
    assert bench.intake.seal_due() is None
    bench.next_job()
    bench.intake.wait_due(0)
    bench.intake.on_room()
    assert bench.intake._woken


def test_room_that_nobody_waits_for_wakes_nobody(bench: Bench) -> None:
    """On a quiet day a finished job costs no wake-up."""
    bench.accept(b"{}")
    bench.intake.wait_due(0)
    bench.intake.on_room()
    assert not bench.intake._woken


def test_room_that_a_backlog_waits_for_wakes_the_sealer(make_bench: MakeBench) -> None:
    """Adopted segments go on as soon as the queue is half empty, not at the next look."""
    bench = make_bench(MAX_QUEUE=3, OBJECT_MAX_PAYLOADS=1)
    places(bench, 1, 1)
    bench.intake.seal_due()
    bench.intake.wait_due(0)
    assert not bench.intake.wants_adopted()
    bench.next_job()
    bench.intake.on_room()
    assert bench.intake._woken
    assert bench.intake.wants_adopted()


def test_nothing_goes_behind_lines_that_were_lost(bench: Bench) -> None:
    """A segment that lost lines takes no more, even before the sealer has seen it."""
    first = bench.accept(b"{}")[0]
    [segment] = bench.process_spool.unfinished()
    segment.write_failed = True
    second = bench.accept(b"{}")[0]
    assert second.header.name != first.header.name
    assert bench.next_job().segment is segment


# --- Refused --------------------------------------------------------------------------------------


def test_capacity_is_the_queue_and_the_open_segment(make_bench: MakeBench) -> None:
    """MAX_QUEUE jobs and one open segment are accepted, not one more; room again is used again."""
    bench = make_bench(MAX_QUEUE=3, OBJECT_MAX_PAYLOADS=1)
    places(bench, 1, 1, 1, 1)
    assert bench.intake.refusal() == "the queue and an open segment are full"
    for _ in range(2):
        with pytest.raises(Full, match="queue is full"):
            bench.accept(b"{}")
    bench.next_job()
    assert bench.intake.refusal() is None
    bench.accept(b"{}")
    assert balance(bench.totals())[0] == 5


def test_what_never_fits_is_told_so(make_bench: MakeBench) -> None:
    """A collection larger than all the room there is gets no `come back later`."""
    bench = make_bench(MAX_QUEUE=3, OBJECT_MAX_PAYLOADS=2)
    with pytest.raises(TooManyPayloads, match="9 payloads"):
        bench.accept(*payloads(9))
    assert len(bench.accept(*payloads(8))) == 4
    with pytest.raises(Full):
        bench.accept(*payloads(8))


def test_more_bytes_than_half_the_budget_never_fit(make_bench: MakeBench) -> None:
    """Half of the byte budget is the most that one collection may take."""
    bench = make_bench(SPOOL_MAX_BYTES=1 << 20)
    with pytest.raises(TooManyPayloads):
        bench.accept(*payloads(6000, size=100))


def test_the_byte_budget_is_kept(make_bench: MakeBench) -> None:
    """Whatever a stuck S3 leaves waiting, it never takes more than the settings allow."""
    bench = make_bench(SPOOL_MAX_BYTES=1 << 20)
    with pytest.raises(Full, match="byte budget"):
        flood(bench, *payloads(100, size=100))
    held = bench.process_spool.counters[Field.HELD_BYTES]
    assert 0.9 * (1 << 20) < held <= 1 << 20
    bench.upload_all()
    assert bench.process_spool.counters[Field.HELD_BYTES] == 0
    assert bench.intake.refusal() is None
    bench.accept(b"{}")


def test_what_others_hold_counts(make_bench: MakeBench) -> None:
    """The spool's budget is for all processes together."""
    bench = make_bench(SPOOL_MAX_BYTES=1 << 20)
    bench.intake.held_elsewhere = (1 << 20) - 5000
    bench.accept(b"{}")
    with pytest.raises(Full, match="byte budget"):
        bench.accept(*payloads(100, size=100))
    assert bench.intake.refusal() == "the byte budget is used up"


def test_tiny_payloads_are_bounded_too(make_bench: MakeBench) -> None:
    """What a segment costs beside its bytes counts: one payload an object is not free."""
    bench = make_bench(SPOOL_MAX_BYTES=1 << 20, OBJECT_MAX_PAYLOADS=1, MAX_QUEUE=100_000)
    with pytest.raises(Full, match="byte budget"):
        flood(bench, b"{}")
    assert bench.jobs.qsize() < 300


def test_streams_are_bounded(make_bench: MakeBench) -> None:
    """A client that makes names up cannot open segments without end; known streams go on."""
    bench = make_bench(MAX_STREAMS=2)
    for stream in ("a", "b", "a"):
        bench.accept(b"{}", stream=stream)
    with pytest.raises(Full, match="2 streams"):
        bench.accept(b"{}", stream="c")
    bench.age()
    bench.accept(b"{}", stream="c")


def test_a_stop_refuses(bench: Bench) -> None:
    """Nothing comes in once the stop has begun."""
    bench.accept(b"{}")
    bench.intake.close()
    assert bench.intake.refusal() == "stopping"
    with pytest.raises(Draining):
        bench.accept(b"{}")
    bench.intake.wait_due(None)


def test_a_broken_spool_refuses(make_bench: MakeBench) -> None:
    """After a failed sync readiness says why, and nothing more is tried on that disk."""
    disk = BadDisk()
    bench = make_bench(disk)
    disk.failing = True
    with pytest.raises(NotConfirmed):
        bench.accept(b"{}")
    disk.failing = False
    with pytest.raises(NotDurable, match="restart"):
        bench.accept(b"{}")
    assert "restart" in str(bench.intake.refusal())
    assert balance(bench.totals()) == (0, 0, 0, 0)


def test_a_full_disk_refuses_until_there_is_room(make_bench: MakeBench, bucket: DictBucket) -> None:
    """ENOSPC is a refusal like any other: what was there is stored, and then it goes on."""
    disk = BadDisk()
    bench = make_bench(disk)
    first = bench.accept(b'{"n":1}')[0]
    disk.full = True
    with pytest.raises(NotDurable, match="No space"):
        bench.accept(b'{"n":2}')
    disk.full = False
    after = bench.accept(b'{"n":3}')[0]
    assert after.header.name != first.header.name
    assert after.first_line == 1
    bench.upload_all()
    assert balance(bench.totals()) == (2, 2, 0, 0)
    assert len(bucket.objects) == 2
    assert bench.process_spool.counters[Field.HELD_BYTES] == 0


# --- A backlog, and a stop ------------------------------------------------------------------------


def test_an_offer_is_taken_while_there_is_room(make_bench: MakeBench) -> None:
    """An adopted job never squeezes into a full queue, and never in after the stop has begun."""
    bench = make_bench(MAX_QUEUE=3, OBJECT_MAX_PAYLOADS=1)
    assert bench.intake.wants_adopted()
    places(bench, 1, 1)
    assert not bench.intake.wants_adopted()
    job = bench.next_job()
    assert bench.intake.offer(job)
    bench.accept(b"{}")
    assert bench.jobs.full()
    assert not bench.intake.offer(job)
    bench.next_job()
    bench.intake.close()
    assert not bench.intake.offer(job)
    assert not bench.intake.wants_adopted()


def test_a_stop_freezes_what_is_open(make_bench: MakeBench) -> None:
    """Every open segment is frozen and handed over, whether the queue has room for it or not."""
    bench = make_bench(MAX_QUEUE=1)
    names = [bench.accept(b"{}", stream=stream)[0].header.name for stream in "abc"]
    bench.intake.close()
    assert [job.segment.name for job in bench.intake.freeze_all()] == names
    assert bench.intake.freeze_all() == []
    assert bench.jobs.empty()
    assert [file.path.suffix for file in bench.process_spool.segment_files()] == [".ready"] * 3
    assert len(bench.process_spool.unfinished()) == 3


# --- All together ---------------------------------------------------------------------------------


def test_every_receipt_is_right(make_bench: MakeBench, bucket: DictBucket) -> None:
    """Whatever comes in, each receipt names its own payloads, and all are stored once."""
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
