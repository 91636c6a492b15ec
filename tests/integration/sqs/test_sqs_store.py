"""Segments as messages: sent, received, received again, given back; a queue that refuses."""

import os
from collections.abc import Iterator
from itertools import chain, repeat

import pytest

from tests.integration.sqs.conftest import Make
from tests.support.sqs.server import NAME, Manner, SqsServer
from workers.errors import NotConfirmed, NotDurable
from workers.spool.counters import Field
from workers.sqs import health, jobs
from workers.sqs.health import doubts, unusable
from workers.sqs.message import MAX_MESSAGE_BYTES, SEGMENT_LINES_BYTES, pack, unpack


def test_a_segment_is_answered_sent_received_and_deleted(sqs: SqsServer, on: Make) -> None:
    """No request is answered before its message is there; what is stored leaves the queue."""
    web, worker = on(), on()
    segment = web.open()
    futures = [web.append((segment, b'{"n":%d}\n' % n)) for n in range(3)]
    assert not any(future.done for future in futures)
    web.seal(segment)
    assert [(future.done, future.exception) for future in futures] == [(True, None)] * 3
    assert not web.store.counters[Field.HELD_BYTES]
    [job] = worker.take()
    assert job.segment.header == segment.header
    assert b"".join(job.segment.body.read()) == b'{"n":0}\n{"n":1}\n{"n":2}\n'
    assert sqs.left() == 1
    worker.store.finish(job, stored=3, dead=0)
    assert sqs.left() == 0
    totals = worker.store.totals()
    assert totals[Field.STORED] == 3
    assert web.store.totals()[Field.ACCEPTED] == 3


def test_ended_segments_go_together(sqs: SqsServer, on: Make) -> None:
    """Segments that wait are one call; a collection over two waits for both."""
    web = on()
    first, second = web.open(), web.open()
    future = web.append((first, b'{"n":1}\n'), (second, b'{"n":2}\n'))
    web.seal(first, second)
    assert (future.done, future.exception) == (True, None)
    assert sqs.calls.count("SendMessageBatch") == 1
    assert len(on().take()) == 2


def test_large_segments_go_one_by_one(sqs: SqsServer, on: Make) -> None:
    """Lines that do not compress fit into a message, and no batch is larger than AWS takes."""
    web = on()
    lines = os.urandom(SEGMENT_LINES_BYTES).replace(b"\n", b"-")[:-1] + b"\n"
    segments = [web.open(), web.open()]
    futures = [web.append((segment, lines)) for segment in segments]
    assert pack(segments[0]).size < MAX_MESSAGE_BYTES
    web.seal(*segments)
    web.committer.step()
    assert [future.exception for future in futures] == [None, None]
    assert sqs.calls.count("SendMessageBatch") == 2
    worker = on()
    found = worker.take() + worker.take()
    assert [b"".join(job.segment.body.read()) for job in found] == [lines, lines]


def test_a_message_that_is_not_renewed_is_received_again(sqs: SqsServer, on: Make) -> None:
    """The second has the same key and lines; what the first one finishes is finished."""
    on().accept()
    first, second = on(), on()
    [job] = first.take()
    assert second.take() == []
    sqs.expire()
    [again] = second.take()
    assert again.segment.header == job.segment.header
    assert list(again.segment.body.read()) == list(job.segment.body.read())
    second.store.finish(again, stored=1, dead=0)
    first.store.finish(job, stored=1, dead=0)
    assert sqs.left() == 0


def test_a_renewed_message_stays_hidden(
    sqs: SqsServer, on: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renewal hides it from all others, parked or not; a second receive here is no second job."""
    monkeypatch.setattr(jobs, "RENEW_SECONDS", 0.0)
    on().accept()
    worker, other = on(), on()
    [job] = worker.take()
    parked = worker.store.park(job, "network")
    sqs.expire()
    worker.jobs._renew()
    assert other.take() == []
    sqs.expire()
    assert worker.take() == []
    loaded = worker.store.load(parked)
    assert loaded is not None
    worker.store.finish(loaded, stored=1, dead=0)
    assert sqs.left() == 0


def test_what_is_left_at_a_stop_is_given_back(on: Make) -> None:
    """Another process has it at once, and the one that stops does not go on with it."""
    on().accept()
    worker = on()
    [job] = worker.take()
    parked = worker.store.park(job, "network")
    worker.jobs.close()
    assert worker.store.load(parked) is None
    assert len(on().take()) == 1


def test_a_dead_letter_stays_in_the_queue(sqs: SqsServer, on: Make) -> None:
    """It is counted, and hidden for hours."""
    on().accept()
    worker = on()
    [job] = worker.take()
    worker.store.finish(job, stored=0, dead=1)
    assert (sqs.left(), worker.store.totals()[Field.DEAD]) == (1, 1)
    assert on().take() == []


def test_another_message_is_left_alone(sqs: SqsServer, on: Make) -> None:
    """A message that is no segment is no job, and is not deleted."""
    sqs.client().send_message(QueueUrl=sqs.client().get_queue_url(QueueName=NAME)["QueueUrl"],
                              MessageBody="hello")  # fmt: skip
    assert on().take() == []
    assert sqs.left() == 1


def test_a_lost_answer_is_asked_for_again(sqs: SqsServer, on: Make) -> None:
    """The same message is sent twice, and the request is answered once it is confirmed."""
    web = on()
    manners: Iterator[Manner] = chain(["lose-answer"], repeat("pass"))
    sqs.manner = lambda call: next(manners) if call == "SendMessageBatch" else "pass"
    assert web.accept().exception is None
    worker = on()
    [job] = worker.take()
    worker.store.finish(job, stored=1, dead=0)
    assert sqs.left() == 1
    sqs.expire()
    [again] = worker.take()
    assert again.segment.header == job.segment.header


def test_a_send_without_an_answer_is_not_confirmed(sqs: SqsServer, on: Make) -> None:
    """It may be in the queue; the process is not ready, and recovers by itself."""
    web = on()
    sqs.manner = lambda call: "lose-answer" if call == "SendMessageBatch" else "pass"
    assert isinstance(web.accept().exception, NotConfirmed)
    assert sqs.left() == 2
    assert web.store.refusal


def test_a_denied_send_is_not_kept(
    sqs: SqsServer, on: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is in the queue; after a while another send is tried."""
    web = on()
    sqs.manner = lambda call: "deny" if call == "SendMessageBatch" else "pass"
    assert isinstance(web.accept().exception, NotDurable)
    web.store.check()
    assert "AccessDenied" in str(web.store.refusal)
    assert sqs.left() == 0
    sqs.manner = lambda _: "pass"
    monkeypatch.setattr(health, "RETRY_SECONDS", 0.0)
    web.store.check()
    assert web.store.refusal is None
    assert web.accept().exception is None


def test_no_such_queue_is_a_refusal(sqs: SqsServer, on: Make) -> None:
    """The text names it; a queue whose attributes are denied is in doubt, and works."""
    missing = on(QUEUE_URL=f"{sqs.url}-not")
    assert "does not exist" in str(missing.store.refusal)
    assert isinstance(missing.accept().exception, NotDurable)
    sqs.manner = lambda call: "deny" if call == "GetQueueAttributes" else "pass"
    unverified = on()
    assert (unverified.store.refusal, bool(unverified.store.doubt)) == (None, True)
    assert unverified.accept().exception is None


def test_a_configuration_is_judged() -> None:
    """What breaks the service is refused, what bounds the promise is named."""
    assert unusable({"MaximumMessageSize": "262144"}) == (
        "the queue's MaximumMessageSize is 262144: set it to 1048576"
    )
    assert unusable({"FifoQueue": "true"})
    assert unusable({"MaximumMessageSize": "1048576"}) is None
    named = "; ".join(doubts({"MessageRetentionPeriod": "345600", "RedrivePolicy": "{}"}))
    assert "after 4 days" in named
    assert "RedrivePolicy" in named


def test_a_message_is_read_as_it_was_written(on: Make) -> None:
    """The same segment gives the same message, and that gives the same lines."""
    segment = on().open()
    segment.body.chunks.append(b"1\n2\n")  # type: ignore[attr-defined]
    segment.lines, segment.size = 2, 4
    message = pack(segment)
    assert message == pack(segment)
    assert list(unpack(message.body, message.lines, handle="h").body.read()) == [b"1\n2\n"]
