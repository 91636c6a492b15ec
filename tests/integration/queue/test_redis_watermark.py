"""The watermark of a queue: what holds it, what it refuses, and who publishes it."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.queue.conftest import MakeMachine
from tests.integration.queue.machine import Machine
from tests.support.doubles import DictBucket
from workers.errors import NotDurable
from workers.queue import redis_watermark
from workers.queue.redis_watermark import RedisProgress
from workers.segments.naming import created_microseconds
from workers.segments.segment import Segment
from workers.watermarks.queue_watermark import QueueWatermark
from workers.watermarks.watermark import timestamp

Make = Callable[..., QueueWatermark]


@pytest.fixture
def watermark(machine: MakeMachine, bucket: DictBucket, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make worker processes' parts in the watermark, which does not stay behind the time."""
    monkeypatch.setattr(redis_watermark, "MARGIN_SECONDS", 0.0)

    def make() -> QueueWatermark:
        progress = RedisProgress(machine().server, seconds=1)
        return QueueWatermark(progress, bucket=bucket, place="bucket", seconds=1)

    return make


def note(bucket: DictBucket) -> dict[str, Any]:
    """Return the one watermark in the bucket."""
    [body] = [body for key, (body, _, _) in bucket.objects.items() if key.startswith("_watermark/")]
    found: dict[str, Any] = json.loads(body)
    return found


def least(segment: Segment) -> str:
    """Return the latest watermark that does not say that a segment is stored."""
    return timestamp(created_microseconds(segment.name) // 1000 * 1000)


def now() -> str:
    """Return the time as watermarks have it, in whole milliseconds."""
    return timestamp(time.time_ns() // 1_000_000 * 1000)


def publish_later(heir: QueueWatermark, bucket: DictBucket, *, than: str) -> None:
    """Let a process publish until its watermark is later than another one."""

    def is_later() -> bool:
        heir.step()
        return bool(note(bucket)["through"] > than)

    time_passes_until(is_later)


def test_what_is_not_stored_holds_it(
    machine: MakeMachine, watermark: Make, bucket: DictBucket
) -> None:
    """A segment that is open, sealed, or leased; it moves on when all is stored or dead."""
    web, worker, published = machine(), machine(), watermark()
    began = now()
    published.step()
    assert began <= note(bucket)["through"] <= now()
    first, second = accepted(web), accepted(web)
    published.step()
    assert note(bucket)["through"] == least(first)
    for segment in (first, second):
        web.seal(segment)
        published.step()
        assert note(bucket)["through"] == least(first)
    jobs = worker.take()
    published.step()
    assert note(bucket)["through"] == least(first)
    worker.finish(jobs[0])
    published.step()
    assert note(bucket)["through"] == least(second)
    done = now()
    worker.finish(jobs[1], dead=True)
    published.step()
    assert note(bucket)["through"] >= done


def test_a_segment_that_is_older_is_refused(machine: MakeMachine, watermark: Make) -> None:
    """Nothing of it is kept, and the next one, which is newer, is taken; parts are not asked."""
    web, published = machine(), watermark()
    old = web.open()
    published.step()
    refused = web.refused((old, b"{}\n"))
    assert isinstance(refused, NotDurable)
    assert "watermark" in str(refused)
    assert old.write_failed
    assert web.ledger() == (0, 0, 0, 0)
    segment = accepted(web)
    published.step()
    assert web.refused((segment, b"{}\n")) is None


def accepted(web: Machine) -> Segment:
    """Open a segment with a payload, once it is newer than the watermark."""
    opened: list[Segment] = []

    def is_accepted() -> bool:
        opened.append(web.open())
        return web.refused((opened[-1], b"{}\n")) is None

    time_passes_until(is_accepted)
    return opened[-1]


def time_passes_until(condition: Callable[[], bool]) -> None:
    """Go on until a millisecond is over."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline


def test_a_clock_that_is_behind_is_named(
    machine: MakeMachine, watermark: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All it would create would be refused: the process is not ready, and says what to set."""
    web = machine()
    watermark().step()
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() - 30)
    web.store._health._config_at = 0.0
    web.store.check()
    assert "clock is 30 s behind" in str(web.store.refusal)
    monkeypatch.setattr(time, "time", clock)
    web.store._health._config_at = 0.0
    web.store.check()
    assert web.store.refusal is None


def test_one_process_publishes(machine: MakeMachine, watermark: Make, bucket: DictBucket) -> None:
    """Another one takes over when it stops, or has not been heard of, under the same id."""
    first, second, third = watermark(), watermark(), watermark()
    first.step()
    puts = bucket.puts
    second.step()
    assert bucket.puts == puts
    first.finish()
    second.step()
    assert bucket.puts == puts + 1
    third.step()
    assert bucket.puts == puts + 1
    server = machine().server
    server.call("HSET", f"{server.prefix}watermark", "until", 1)
    third.step()
    assert bucket.puts == puts + 2
    assert "final" not in note(bucket)


def test_a_process_that_stood_still_replaces_nothing(
    machine: MakeMachine, watermark: Make, bucket: DictBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its PUT comes after that of its successor: the watermark in the bucket does not fall."""
    slow, heir = watermark(), watermark()
    slow.step()
    server = machine().server
    swap = bucket.swap_note

    def stands_still(*arguments: Any, **options: Any) -> str | None:
        monkeypatch.setattr(bucket, "swap_note", swap)
        server.call("HSET", f"{server.prefix}watermark", "until", 1)
        publish_later(heir, bucket, than=before)
        return swap(*arguments, **options)

    before = note(bucket)["through"]
    monkeypatch.setattr(bucket, "swap_note", stands_still)
    slow.step()
    after = note(bucket)["through"]
    assert after > before
    slow.step()
    assert note(bucket)["through"] == after
    heir.step()
    assert note(bucket)["through"] >= after


def test_a_machine_s_first_note_does_not_replace_a_later_one(
    machine: MakeMachine, watermark: Make, bucket: DictBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does the first PUT of a process that has only just looked at the bucket."""
    slow, heir = watermark(), watermark()
    server = machine().server
    advance = RedisProgress.advance
    answers = iter(range(10))

    def stands_still(self: RedisProgress) -> object:
        found = advance(self)
        if found is not None and next(answers) == 1:
            monkeypatch.setattr(RedisProgress, "advance", advance)
            server.call("HSET", f"{server.prefix}watermark", "until", 1)
            seen = timestamp(found.through)
            publish_later(heir, bucket, than=seen)
            said.append(note(bucket)["through"])
        return found

    said: list[str] = []
    monkeypatch.setattr(RedisProgress, "advance", stands_still)
    slow.step()
    assert said == [note(bucket)["through"]]
