"""The overview: what all processes show, in one answer to the operator's first question."""

import time

import pytest

from tests.support.bench import Bench
from tests.support.doubles import DictBucket
from tests.support.figures import cause, process, stored
from workers.errors import ObjectRejected
from workers.figures.figures import StreamFigures
from workers.figures.history import STEP_SECONDS, History
from workers.figures.published import Published
from workers.operate.dead_letters import DeadLetters
from workers.overview.overview import Overview, look
from workers.overview.seen import SpoolSight

STREAM = StreamFigures(
    stream="s",
    open_segments=1,
    open_payloads=10,
    open_size=100,
    open_since=50.0,
    payloads_per_second=2.0,
    bytes_per_second=20.0,
)


def seen(bench: Bench) -> Overview:
    """Look at the service."""
    return look(bench.settings, SpoolSight(bench.spool, bench.settings)())


def test_everything_is_in_s3(bench: Bench) -> None:
    """With nothing pending, and nothing failing, the first line is short."""
    Published(bench.spool.root).write(process())
    verdict = seen(bench).verdict
    assert (verdict.state, verdict.text) == ("ok", "Nothing has been accepted yet.")
    bench.accept(b"{}", b"{}")
    verdict = seen(bench).verdict
    assert verdict.state == "ok"
    assert verdict.text == "Nothing is late: 2 payloads are on the way to S3."
    assert verdict.since == pytest.approx(time.time(), abs=5)
    bench.upload_all()
    verdict = seen(bench).verdict
    assert (verdict.state, verdict.text) == ("ok", "Everything is in S3.")
    assert verdict.since is None


def test_what_fails_is_named_with_its_last_error(bench: Bench) -> None:
    """A cause of all processes is one: since the first of them, with the last error."""
    one, two = Published(bench.spool.root), Published(bench.spool.root)
    one.write(process(cause("network", "s3", "bucket", since=10.0, waiting=3)))
    two.write(process(cause("network", "s3", "bucket", since=20.0, waiting=4, error="refused")))
    bench.accept(b"{}")
    found = seen(bench)
    assert found.verdict.state == "late"
    assert found.verdict.text == "1 payload is not in S3: it cannot be reached."
    assert found.verdict.why == "refused"
    [both] = found.causes
    assert (both.since, both.waiting, both.failures) == (10.0, 7, 2)


def test_what_takes_too_long_is_late(bench: Bench) -> None:
    """Without an error too: a PUT that hangs is no failure yet."""
    Published(bench.spool.root).write(process(written_at=time.time()))
    bench.accept(b"{}")
    for segment in bench.process_spool.unfinished():
        segment.created_at -= 3600
    bench.process_spool.publish_oldest()
    verdict = seen(bench).verdict
    assert verdict.state == "late"
    assert verdict.text == "1 payload is not in S3, longer than usual."
    assert verdict.since == pytest.approx(time.time() - 3600, abs=5)


def test_refusals_hanging_processes_and_no_process_come_first(bench: Bench) -> None:
    """Each is said; a process that shows nothing new is named."""
    assert seen(bench).verdict.text == "No process of the service is running."
    one, two = Published(bench.spool.root), Published(bench.spool.root)
    one.write(process(refusal="the disk is full", written_at=time.time()))
    verdict = seen(bench).verdict
    assert (verdict.state, verdict.text) == ("refusing", "Payloads are refused: the disk is full.")
    two.write(process(pid=77))
    verdict = seen(bench).verdict
    assert verdict.text == "Payloads are refused by 1 of 2 processes: the disk is full."
    assert verdict.notes == ["Process 77 has shown nothing new for 10 seconds: it hangs."]


def test_streams_objects_and_queues_are_those_of_all_processes(bench: Bench) -> None:
    """Streams are added up, objects merged by time."""
    one, two = Published(bench.spool.root), Published(bench.spool.root)
    one.write(process(streams=[STREAM], queued=1, objects=[stored(3), stored(1)]))
    two.write(process(streams=[STREAM], queued=2, objects=[stored(2)]))
    found = seen(bench)
    [stream] = found.streams
    assert (stream.payloads_per_second, stream.open_payloads) == (4.0, 20)
    assert (found.queued, found.max_queue) == (3, 20)
    assert [each.at for each in found.objects] == [3.0, 2.0, 1.0]


def test_rates_and_the_time_until_full_are_of_the_history(bench: Bench) -> None:
    """Ten payloads in ten seconds are one a second; what grows will be full."""
    start = time.time() - 10 * STEP_SECONDS
    now = [start]
    history = History(bench.spool.root, now=lambda: now[0])
    for _ in range(6):
        bench.accept(b"x" * 10_000, b"")
        history.note(bench.totals)
        now[0] += STEP_SECONDS
    found = seen(bench)
    assert found.chart.accepted == [1.0] * 5
    assert found.chart.pending == [4, 6, 8, 10, 12]
    assert found.rates.stored == 0
    grown = (10_002 + 128) / STEP_SECONDS
    left = found.space.max_bytes - found.space.held_bytes
    assert found.space.full_in_seconds == pytest.approx(left / grown, rel=0.01)


def test_dead_letters_and_damaged_files_are_listed(bench: Bench, bucket: DictBucket) -> None:
    """With the reason; one whose note cannot be read is listed all the same."""
    bucket.trouble.append(ObjectRejected("too large"))
    [receipt] = bench.accept(b'{"n": 1}')
    bench.upload_all()
    (bench.spool.root / "dead" / "20000101T000000000000Z-0000000000000000.json").write_text("{")
    file = bench.process_spool.new_file("20260101T000000000000Z-0000000000000000")
    file.append(receipt.header, [(1, b"{}\n")])
    bench.spool.quarantine(file, reason="no frame at byte 7")
    found = seen(bench)
    assert found.dead_letters.count == 2
    letter, unreadable = found.dead_letters.newest
    assert (letter.name, letter.reason, letter.payloads) == (receipt.header.name, "too large", 1)
    assert letter.size == len(b'{"n": 1}\n')
    assert unreadable.reason.startswith("its note cannot be read")
    assert "There are 2 dead letters." in found.verdict.notes
    [damaged] = found.quarantine.newest
    assert damaged.reason == "no frame at byte 7"
    assert damaged.size
    DeadLetters(bench.spool, bucket=bucket).replay(letter.name)
    assert seen(bench).dead_letters.count == 1
