"""The watermark of a spool says no more than is true of every process of it."""

import time
from collections.abc import Callable

import pytest

from tests.support.bench import MakeBench
from tests.support.doubles import DictBucket
from tests.unit.watermarks.bench import notes, through, watermark_of
from workers.errors import ObjectRejected, StoreUnavailable
from workers.operate.dead_letters import DeadLetters
from workers.segments.naming import ADJUSTED_MICROSECONDS, created_microseconds
from workers.spool.counters import Field
from workers.watermarks.spool_watermark import SpoolWatermark
from workers.watermarks.watermark import timestamp

AWAY = StoreUnavailable("reset", reason="network")


def stamp(name: str) -> str:
    """Return a segment's creation as watermarks write it."""
    return timestamp(created_microseconds(name))


def long_ago(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Set the clock of this process back."""
    clock = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: clock() - int(seconds * 1e9))


def test_with_nothing_waiting_it_is_the_time(make_bench: MakeBench, bucket: DictBucket) -> None:
    """It lags the clock by as much as clocks are adjusted, and no hour is complete too early."""
    watermark = watermark_of(make_bench())
    before = time.time_ns() // 1000 - ADJUSTED_MICROSECONDS
    watermark.step()
    after = time.time_ns() // 1000
    assert timestamp(before) <= through(bucket) <= timestamp(after - ADJUSTED_MICROSECONDS)
    [note] = notes(bucket)
    assert note.keys() == {"through", "published_at"}


def test_what_waits_holds_it_and_what_is_stored_does_not(
    make_bench: MakeBench, bucket: DictBucket
) -> None:
    """An open segment, the same sealed, and the same parked hold it at their creation."""
    bench = make_bench()
    watermark = watermark_of(bench)
    name = bench.accept(b"{}")[0].header.name
    watermark.step()
    assert through(bucket) < stamp(name)
    bench.intake.opened_from = lambda: time.time_ns() // 1000  # type: ignore[method-assign]
    watermark = watermark_of(bench)
    bench.age()
    watermark.update()
    assert bench.process_spool.counters[Field.WATERMARK_MICROSECONDS] == created_microseconds(name)
    job = bench.next_job()
    bench.backlog.failed(job, AWAY)
    watermark.update()
    assert bench.process_spool.counters[Field.WATERMARK_MICROSECONDS] == created_microseconds(name)
    bench.now += 100
    bench.upload_all()
    watermark.update()
    assert bench.process_spool.counters[Field.WATERMARK_MICROSECONDS] > created_microseconds(name)


@pytest.fixture
def yesterday(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let what follows happen a day ago; call it to come back."""
    clock = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: clock() - 86_400 * 10**9)
    return lambda: monkeypatch.setattr(time, "time_ns", clock)


def test_a_killed_process_holds_it_until_another_has_stored_all(
    make_bench: MakeBench, bucket: DictBucket, yesterday: Callable[[], None]
) -> None:
    """Before its directory is adopted, and after, until its last object is in the bucket."""
    killed = make_bench()
    watermark_of(killed).update()
    name = killed.accept(b"{}")[0].header.name
    killed.die()
    yesterday()
    bench = make_bench()
    watermark = watermark_of(bench)
    watermark.step()
    assert through(bucket) <= stamp(name)
    bench.adopt()
    watermark.step()
    assert through(bucket) == stamp(name)
    bench.upload_all()
    watermark.step()
    assert through(bucket) > stamp(name)


def test_a_file_that_cannot_be_read_holds_it(
    make_bench: MakeBench, bucket: DictBucket, yesterday: Callable[[], None]
) -> None:
    """What may still be payloads is not passed over, however long it takes."""
    killed = make_bench()
    name = killed.accept(b"{}")[0].header.name
    killed.die()
    yesterday()
    file = killed.process_spool.path / f"{name}.open"
    content = file.read_bytes()
    file.unlink()
    file.mkdir()
    bench = make_bench()
    watermark = watermark_of(bench)
    bench.adopt()
    watermark.step()
    assert through(bucket) == stamp(name)
    file.rmdir()
    file.write_bytes(content)
    bench.adopt()
    bench.upload_all()
    watermark.step()
    assert through(bucket) > stamp(name)


def test_a_dead_letter_does_not_hold_it_and_neither_does_its_replay(
    make_bench: MakeBench, bucket: DictBucket, yesterday: Callable[[], None]
) -> None:
    """What was dead when the watermark passed it does not take it back when it is replayed."""
    bench = make_bench()
    bucket.trouble.append(ObjectRejected("no"))
    name = bench.accept(b"{}")[0].header.name
    bench.upload_all()
    yesterday()
    watermark = watermark_of(bench)
    watermark.step()
    before = through(bucket)
    assert before > stamp(name)
    DeadLetters(bench.spool, bucket=bucket).replay(name)
    watermark.step()
    assert through(bucket) > before
    bench.adopt()
    watermark.step()
    assert through(bucket) > before
    bench.upload_all()
    assert any(name in key for key in bucket.objects)


def test_of_what_is_held_the_oldest_counts(
    make_bench: MakeBench, bucket: DictBucket, yesterday: Callable[[], None]
) -> None:
    """After a clock was set back the segment that is held first is not the oldest."""
    yesterday()
    bench = make_bench()
    watermark = watermark_of(bench)
    bench.accept(b"{}", stream="now")
    with pytest.MonkeyPatch.context() as patch:
        long_ago(patch, 3600)
        name = bench.accept(b"{}", stream="back")[0].header.name
    watermark.step()
    assert through(bucket) == stamp(name)


def test_it_falls_when_the_clock_is_set_back(
    make_bench: MakeBench, bucket: DictBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments are created in hours again that were complete: it is not left where it was."""
    watermark = watermark_of(make_bench())
    watermark.step()
    before = through(bucket)
    long_ago(monkeypatch, 3600)
    watermark.step()
    assert through(bucket) < before


def test_a_process_that_says_nothing_holds_it(
    make_bench: MakeBench, bucket: DictBucket, yesterday: Callable[[], None]
) -> None:
    """One without the setting holds it at its start; one of an older version stops it."""
    silent = make_bench()
    started = silent.process_spool.counters[Field.WATERMARK_MICROSECONDS]
    yesterday()
    watermark = watermark_of(make_bench())
    watermark.step()
    assert through(bucket) == timestamp(started)
    silent.process_spool.counters[Field.WATERMARK_MICROSECONDS] = 0
    watermark.step()
    assert through(bucket) == timestamp(started)


def test_no_directory_is_no_fault(make_bench: MakeBench, bucket: DictBucket) -> None:
    """A process that could not make its directory creates nothing, and holds nothing."""
    bench = make_bench()
    watermark = SpoolWatermark(
        bench.spool,
        bucket=bucket,
        settings=bench.settings,
        own=lambda: None,
        adoption=bench.adoption,
        opened_from=bench.intake.opened_from,
    )
    watermark.step()
    started = bench.process_spool.counters[Field.WATERMARK_MICROSECONDS]
    assert through(bucket) == timestamp(started)
