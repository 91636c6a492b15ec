"""What an operator decides about segments: sent elsewhere or buried, exactly once all the same."""

import json
import time
from typing import Any

import pytest

from tests.support.bench import Bench, MakeBench, balance
from tests.support.doubles import DictBucket
from tests.support.figures import cause, process
from workers.errors import StoreUnavailable
from workers.figures.published import Published
from workers.operate.dead_letters import DeadLetters
from workers.operate.segments import NoSuchSegment, Segments
from workers.segments.segment import Receipt
from workers.spool.decisions import Decisions, UnreadableDecision
from workers.upload.decided import SETTLE_SECONDS
from workers.upload.s3 import PutAnswer, Stored


class Buckets(DictBucket):
    """Several buckets in a dict, by `bucket/key`. Those in `denied` answer every HEAD with 403."""

    def __init__(self) -> None:
        super().__init__()
        self.denied: set[str] = set()

    def put(self, bucket: str, key: str, *args: Any, **more: Any) -> PutAnswer:
        """Put under both."""
        return super().put(bucket, f"{bucket}/{key}", *args, **more)

    def head(self, bucket: str, key: str) -> Stored:
        """Look under both."""
        if bucket in self.denied:
            raise StoreUnavailable("403", reason="denied")
        return super().head(
            bucket, key if "/" in key and key in self.objects else f"{bucket}/{key}"
        )


@pytest.fixture
def buckets() -> Buckets:
    """Make the buckets."""
    return Buckets()


@pytest.fixture
def bench(make_bench: MakeBench, buckets: Buckets) -> Bench:
    """Make a bench on them, on which every decision has settled."""
    bench = make_bench()
    use(bench, buckets)
    return bench


def use(bench: Bench, buckets: Buckets, *, settled: bool = True) -> None:
    """Let a bench's uploads and receipts go to these buckets."""
    bench.bucket = bench.uploader._bucket = bench.receipts._bucket = buckets
    bench.uploader._objects._bucket = buckets
    bench.decided._bucket = buckets
    later = SETTLE_SECONDS + 1 if settled else 0
    bench.decided._now = lambda: time.time() + later


def seal(bench: Bench, *payloads: bytes) -> Receipt:
    """Accept payloads and seal their segment."""
    receipt = bench.accept(*payloads)[0]
    bench.age()
    return receipt


def stored_in(buckets: Buckets) -> list[str]:
    """Return which buckets have an object."""
    return [key.partition("/")[0] for key in buckets.objects]


def test_segments_are_listed(bench: Bench) -> None:
    """Sealed and open ones with stream, place, payloads and age, oldest first."""
    first = seal(bench, b'{"n":1}', b'{"n":2}')
    second = bench.accept(b'{"n":3}', stream="t")[0]
    one, other = Segments(bench.spool).all()
    assert (one.name, one.header, one.lines) == (first.header.name, first.header, 2)
    assert (one.state, one.decision, one.fault) == ("ready", None, None)
    assert (other.name, other.lines, other.state) == (second.header.name, 1, "open")
    # Each age is of the moment when its file was read, in this order.
    assert all(0 <= listed.age_seconds < 60 for listed in (one, other))


def test_a_file_that_cannot_be_read_is_listed(bench: Bench) -> None:
    """Damage, and other versions' formats, hide neither the segment nor those beside it."""
    receipt = seal(bench, b"{}")
    good = seal(bench, b"{}")
    [path] = bench.spool.root.glob(f"*/{receipt.header.name}.ready")
    path.write_bytes(b"\x00" * 100)
    bad, other = Segments(bench.spool).all()
    assert bad.fault
    assert (other.name, other.fault) == (good.header.name, None)


def test_lines_are_shown(bench: Bench) -> None:
    """A segment's lines can be read before they are stored, of an open one too."""
    sealed, still_open = seal(bench, b'{"n":1}', b'{"n":2}'), bench.accept(b'{"n":3}')[0]
    segments = Segments(bench.spool)
    assert b"".join(segments.lines(sealed.header.name)) == b'{"n":1}\n{"n":2}\n'
    assert b"".join(segments.lines(still_open.header.name)) == b'{"n":3}\n'


@pytest.mark.parametrize("name", ["x", "../lock", "20261123T235301123456Z-0123456789abcdef"])
def test_a_segment_that_is_none(bench: Bench, name: str) -> None:
    """A wrong name is an error, and nothing is written."""
    segments = Segments(bench.spool)
    for act in (segments.lines, segments.bury):
        with pytest.raises(NoSuchSegment):
            act(name)
    with pytest.raises(NoSuchSegment):
        segments.reroute(name, bucket="other", look=True)
    assert not (bench.spool.root / "decisions").exists()


def test_a_rerouted_segment_is_stored_once(bench: Bench, buckets: Buckets) -> None:
    """It goes to the other bucket under its key, is counted once, and its receipt finds it."""
    receipt = seal(bench, b"{}")
    Segments(bench.spool).reroute(receipt.header.name, bucket="other", look=True)
    [listed] = Segments(bench.spool).all()
    assert listed.decision == "goes to other"
    bench.upload_all()
    assert list(buckets.objects) == [f"other/{receipt.header.key}"]
    assert balance(bench.totals()) == (1, 1, 0, 0)
    status = bench.receipts.look_up(bench.receipts.issue(receipt))
    assert (status.state, status.object) == ("stored", f"s3://other/{receipt.header.key}")


def test_an_earlier_bucket_that_holds_it_keeps_it(bench: Bench, buckets: Buckets) -> None:
    """A PUT whose answer was lost took effect: it is not stored a second time elsewhere."""
    receipt = seal(bench, b"{}")
    buckets.lost_answers.add(1)
    job = bench.next_job()
    with pytest.raises(StoreUnavailable):
        bench.uploader.upload(job)
    Segments(bench.spool).reroute(receipt.header.name, bucket="other", look=True)
    bench.uploader.upload(job)
    assert stored_in(buckets) == ["bucket"]
    assert balance(bench.totals()) == (1, 1, 0, 0)
    assert bench.receipts.look_up(bench.receipts.issue(receipt)).state == "stored"


def test_an_earlier_bucket_that_does_not_say(bench: Bench, buckets: Buckets) -> None:
    """Where HEAD is denied the segment waits, unless the operator chose not to look."""
    receipt = seal(bench, b"{}")
    segments, job = Segments(bench.spool), bench.next_job()
    buckets.denied.add("bucket")
    segments.reroute(receipt.header.name, bucket="other", look=True)
    with pytest.raises(StoreUnavailable):
        bench.uploader.upload(job)
    assert buckets.objects == {}
    segments.reroute(receipt.header.name, bucket="other", look=False)
    bench.uploader.upload(job)
    assert stored_in(buckets) == ["other"]


def test_requests_under_way_settle_first(bench: Bench, buckets: Buckets) -> None:
    """A PUT that was sent before the decision may land for a while: nothing is put meanwhile."""
    receipt = seal(bench, b"{}")
    use(bench, buckets, settled=False)
    Segments(bench.spool).reroute(receipt.header.name, bucket="other", look=True)
    job = bench.next_job()
    with pytest.raises(StoreUnavailable, match="settle"):
        bench.uploader.upload(job)
    assert buckets.puts == 0
    use(bench, buckets)
    bench.uploader.upload(job)
    assert stored_in(buckets) == ["other"]


def test_a_segment_that_is_rerouted_twice(bench: Bench, buckets: Buckets) -> None:
    """Each bucket that it was to go to may hold it; the last decision is the one that counts."""
    receipt = seal(bench, b"{}")
    segments, job = Segments(bench.spool), bench.next_job()
    segments.reroute(receipt.header.name, bucket="second", look=True)
    buckets.lost_answers.add(1)
    with pytest.raises(StoreUnavailable):
        bench.uploader.upload(job)
    segments.reroute(receipt.header.name, bucket="third", look=True)
    bench.uploader.upload(job)
    assert stored_in(buckets) == ["second"]


def test_a_decision_outlives_its_process(
    make_bench: MakeBench, bench: Bench, buckets: Buckets
) -> None:
    """Killed between the decision and the PUT: the process that takes over follows it."""
    receipt = seal(bench, b"{}")
    Segments(bench.spool).reroute(receipt.header.name, bucket="other", look=True)
    bench.die()
    heir = make_bench()
    use(heir, buckets)
    heir.adopt()
    heir.upload_all()
    assert stored_in(buckets) == ["other"]
    assert balance(heir.totals()) == (1, 1, 0, 0)


def test_a_buried_segment_is_a_dead_letter(bench: Bench, buckets: Buckets) -> None:
    """It is kept, counted dead, and can be replayed: the decision does not outlive it."""
    receipt = seal(bench, b'{"n":1}')
    Segments(bench.spool).bury(receipt.header.name)
    bench.upload_all()
    letters = DeadLetters(bench.spool, bucket=buckets)
    assert letters.read(receipt.header.name).lines == b'{"n":1}\n'
    assert balance(bench.totals()) == (1, 0, 0, 1)
    assert Decisions(bench.spool.root).find(receipt.header.name) is None
    buckets.objects.clear()
    letters.replay(receipt.header.name)
    bench.adopt()
    bench.upload_all()
    assert stored_in(buckets) == ["bucket"]
    assert balance(bench.totals()) == (1, 1, 0, 0)


def test_what_s3_holds_is_not_buried(bench: Bench, buckets: Buckets) -> None:
    """An object whose answer was lost is stored, and no dead letter beside it."""
    receipt = seal(bench, b"{}")
    buckets.lost_answers.add(1)
    job = bench.next_job()
    with pytest.raises(StoreUnavailable):
        bench.uploader.upload(job)
    Segments(bench.spool).bury(receipt.header.name)
    bench.uploader.upload(job)
    assert balance(bench.totals()) == (1, 1, 0, 0)


def test_a_decision_that_cannot_be_read_is_not_ignored(bench: Bench, buckets: Buckets) -> None:
    """Damage, and a newer version's decision, hold their segment back and no other."""
    receipt = seal(bench, b"{}")
    Segments(bench.spool).reroute(receipt.header.name, bucket="other", look=True)
    [path] = (bench.spool.root / "decisions").iterdir()
    path.write_text(json.dumps({**json.loads(path.read_text()), "newer": 1}))
    with pytest.raises(UnreadableDecision):
        bench.uploader.upload(bench.next_job())
    assert buckets.objects == {}
    assert Segments(bench.spool).all()[0].decision


def test_why_segments_do_not_go(bench: Bench) -> None:
    """What running processes' jobs fail for is listed; what one that ended showed is not."""
    seal(bench, b"{}")
    bench.accept(b"{}", stream="t")
    published, segments = Published(bench.spool.root), Segments(bench.spool)
    published.write(process(cause("denied", "denied", "bucket", "s"), cause("disk", "disk")))
    assert [listed.cause for listed in segments.all()] == ["denied", None]
    published.write(process(cause("bucket", "s3", "bucket")))
    assert [listed.cause for listed in segments.all()] == ["bucket", "bucket"]
    published.close()
    assert [listed.cause for listed in segments.all()] == [None, None]
