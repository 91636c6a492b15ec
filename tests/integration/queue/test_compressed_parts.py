"""Parts that are compressed before they go to Redis: fewer bytes there, the same lines."""

import pytest

from tests.integration.queue.conftest import MakeMachine
from tests.integration.queue.machine import Machine, lines_of
from tests.support.doubles import DictBucket
from tests.support.redis.server import RedisProcess
from workers.dispatch.jobs import Job
from workers.errors import QueueUnconfirmed
from workers.operate.queued_dead_letters import QueuedDeadLetters
from workers.queue.queued_body import COMPRESSED_FROM, QueuedBody
from workers.segments.naming import segment_name
from workers.segments.segment import CompressedRun, Header, Segment
from workers.spool.counters import Field
from workers.upload.compression import pack
from workers.upload.reading import decompress

SMALL = b'{"n":1}\n'
LARGE = b"".join(b'{"number":%d}\n' % n for n in range(COMPRESSED_FROM // 10))
KINDS = ["gzip", "zstd", "none"]


def opened(web: Machine, kind: str, number: int = 1_800_000_000_000_000) -> Segment:
    """Open a segment whose object has this compression."""
    name = segment_name(number)
    header = Header(name=name, stream="s", bucket="b", key=f"s/{name}", compression=kind)
    return web.store.create(header)


def object_of(job: Job) -> bytes:
    """Return the object that a worker makes of a job."""
    body = job.segment.body
    packed = pack(body.runs, compression=job.segment.header.compression, memory_bytes=1 << 30)
    assert packed.size == job.segment.size
    return b"".join(packed.body.chunks())


@pytest.mark.parametrize("kind", KINDS)
def test_small_and_large_parts_are_one_object(machine: MakeMachine, kind: str) -> None:
    """With parts compressed or not, object, lines and ledger are the same."""
    web, worker = machine(), machine()
    segment = opened(web, kind)
    parts = [SMALL, LARGE, SMALL, SMALL, LARGE]
    for part in parts:
        assert web.refused((segment, part)) is None
    web.seal(segment)
    [job] = worker.take()
    whole = b"".join(parts)
    assert lines_of(job) == decompress(object_of(job)) == whole
    totals = worker.store.totals()
    assert totals[Field.ACCEPTED_BYTES] == job.segment.size == len(whole)
    assert totals[Field.ACCEPTED] == job.segment.lines == whole.count(b"\n")
    compressed = [isinstance(run, CompressedRun) for run in job.segment.body.runs()]
    assert compressed == [kind != "none" and part is LARGE for part in parts]
    worker.finish(job)
    assert worker.store.totals()[Field.HELD_BYTES] == 0


def test_the_queue_holds_what_is_compressed(
    machine: MakeMachine, shared_redis: RedisProcess
) -> None:
    """The byte budget is for what Redis has, not for what clients have sent."""
    web = machine()
    segment = opened(web, "gzip")
    web.append((segment, LARGE))
    key = f"{web.server.prefix}lines:{segment.name}"
    [length] = shared_redis.client().eval("return {#redis.call('LINDEX', KEYS[1], 0)}", 1, key)
    assert length < len(LARGE) / 2
    assert length < web.store.totals()[Field.HELD_BYTES] < len(LARGE)


def test_parts_of_an_earlier_version_are_read(machine: MakeMachine) -> None:
    """Large parts that are not compressed, which are in the queue during an upgrade, are lines."""
    web, worker = machine(), machine()
    segment = opened(web, "gzip")
    arguments: list[str | bytes | int] = [web.store.writer, 60_000, 1 << 30, 1]
    header = b'{"name":"%b","stream":"s","bucket":"b","key":"k","compression":"gzip"}'
    arguments += [segment.name, header % segment.name.encode(), 1, 1]
    arguments += [LARGE.count(b"\n"), len(LARGE), len(LARGE), LARGE]
    assert web.server.script("append", *arguments) == b"ok"
    web.seal(segment)
    [job] = worker.take()
    assert list(job.segment.body.runs()) == [LARGE]
    assert decompress(object_of(job)) == LARGE


def test_a_part_without_an_answer_is_sent_as_it_was(
    machine: MakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is compressed once: what is sent again under the same number is the same bytes."""
    web, worker = machine(), machine()
    segment = opened(web, "gzip")
    run, sent = web.server.script, []

    def losing(name: str, *arguments: bytes, confirmed: bool = False) -> object:
        answer = run(name, *arguments, confirmed=confirmed)
        if name == "append":
            sent.append(arguments)
            if len(sent) == 1:
                raise QueueUnconfirmed("no answer")
        return answer

    monkeypatch.setattr(web.server, "script", losing)
    assert web.refused((segment, LARGE)) is None
    assert len(sent) == 2
    assert sent[0] == sent[1]
    web.seal(segment)
    [job] = worker.take()
    assert lines_of(job) == LARGE


def test_a_dead_letter_shows_its_lines(machine: MakeMachine) -> None:
    """What is read of a dead letter is what the client sent, and it can be replayed."""
    web, worker = machine(), machine()
    segment = opened(web, "zstd")
    web.append((segment, SMALL + LARGE))
    web.seal(segment)
    [job] = worker.take()
    worker.finish(job, dead=True)
    letters = QueuedDeadLetters(worker.server, bucket=DictBucket())
    assert letters.read(segment.name).lines == SMALL + LARGE
    assert letters.replay(segment.name) == (SMALL + LARGE).count(b"\n")
    [again] = worker.take()
    assert lines_of(again) == SMALL + LARGE
    assert isinstance(again.segment.body, QueuedBody)
