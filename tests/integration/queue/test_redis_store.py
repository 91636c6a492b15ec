"""Segments in Redis: appended, sealed, taken by any machine, finished once."""

import pytest

from tests.integration.queue.conftest import MakeMachine
from tests.integration.queue.machine import lines_of
from tests.support.redis.server import RedisProcess
from workers.errors import Full, NotDurable, QueueUnavailable
from workers.segments.naming import created_microseconds


def test_what_one_machine_accepts_another_uploads(machine: MakeMachine) -> None:
    """The segment's name, key and lines are those that the first has fixed."""
    web, worker = machine(), machine()
    segment = web.open()
    assert web.refused((segment, b'{"n":1}\n{"n":2}\n')) is None
    assert web.refused((segment, b'{"n":3}\n')) is None
    assert worker.take() == []
    web.seal(segment)
    [job] = worker.take()
    assert job.segment.header == segment.header
    assert (job.segment.lines, lines_of(job)) == (3, b'{"n":1}\n{"n":2}\n{"n":3}\n')
    assert web.ledger() == worker.ledger() == (3, 0, 3, 0)
    worker.finish(job)
    assert web.ledger() == (3, 3, 0, 0)


def test_a_group_is_one_round_trip_for_many_segments(
    machine: MakeMachine, shared_redis: RedisProcess
) -> None:
    """However many collections and streams a group has, it is one script."""
    web = machine()
    one, two = web.open("one"), web.open("two")
    web.append((one, b"{}\n"))
    before = shared_redis.client().info("stats")["total_commands_processed"]
    web.append((one, b"{}\n"), (two, b"{}\n"))
    calls = shared_redis.client().info("commandstats")
    assert calls["cmdstat_evalsha"]["calls"] >= 2
    assert shared_redis.client().info("stats")["total_commands_processed"] - before < 40
    assert (one.lines, two.lines) == (2, 1)


def test_receipts_follow_a_segment(machine: MakeMachine) -> None:
    """Every machine knows where a segment is, before, while and after it is uploaded."""
    web, worker = machine(), machine()
    segment, other = web.open(), web.open()
    web.append((segment, b"{}\n"))
    states = [web.store.look(segment.name), worker.store.look(segment.name)]
    assert [found and found.state for found in states] == ["accepted", "accepted"]
    web.seal(segment)
    [job] = worker.take()
    found = web.store.look(segment.name)
    assert found is not None
    assert found.state == "uploading"
    worker.finish(job)
    found = web.store.look(segment.name)
    assert found is not None
    assert (found.state, found.stored_at is not None) == ("stored", True)
    assert worker.store.look(other.name) is None


def test_a_dead_letter_stays_in_the_queue(machine: MakeMachine) -> None:
    """Its lines, its reason and its place in the ledger are kept for an operator."""
    web, worker = machine(), machine()
    segment = web.open()
    web.append((segment, b"{}\n"))
    web.seal(segment)
    [job] = worker.take()
    worker.finish(job, dead=True)
    assert web.ledger() == (1, 0, 0, 1)
    found = web.store.look(segment.name)
    assert found is not None
    assert (found.state, found.reason) == ("dead", "refused")
    assert worker.take() == []


def test_the_budget_is_the_service_s(machine: MakeMachine) -> None:
    """Beyond it nothing of a group is kept, and what is finished makes room."""
    web, other = machine(max_bytes=1 << 20), machine(max_bytes=1 << 20)
    segment = web.open()
    assert web.refused((segment, b"x" * 900_000 + b"\n")) is None
    late = other.open()
    refused = other.refused((late, b"y" * 200_000 + b"\n"))
    assert isinstance(refused, Full)
    assert not other.store.has_room(1)
    assert web.ledger()[0] == 1
    web.seal(segment)
    [job] = web.take()
    web.finish(job)
    other.store.check()
    assert other.store.has_room(200_000)
    assert other.refused((other.open(), b"y" * 200_000 + b"\n")) is None
    assert web.ledger() == (2, 1, 1, 0)


def test_a_server_that_is_full_still_gives_back(
    machine: MakeMachine, shared_redis: RedisProcess
) -> None:
    """At maxmemory nothing is appended; what is there can be taken, parked, finished."""
    web, worker = machine(max_bytes=1 << 30), machine()
    segment, parked = web.open(), web.open()
    web.append((segment, b"{}\n"), (parked, b"{}\n"))
    shared_redis.client().config_set("maxmemory", 1 << 10)
    refused = web.refused((web.open(), b"{}\n"))
    assert isinstance(refused, NotDurable)
    assert "maxmemory" in str(refused)
    web.seal(segment)
    web.seal(parked)
    one, two = worker.take()
    worker.server.script("renew", worker.leases.token, 60_000, one.segment.name)
    worker.server.script("park", worker.leases.token, 0, two.segment.name)
    worker.leases.drop([two.segment.name])
    worker.finish(one)
    [again] = worker.take()
    worker.finish(again, dead=True)
    assert web.ledger() == (2, 1, 0, 1)
    shared_redis.client().config_set("maxmemory", 0)
    assert web.refused((web.open(), b"{}\n")) is None


def test_scripts_come_back_after_a_flush(machine: MakeMachine, shared_redis: RedisProcess) -> None:
    """A server that has forgotten the scripts is given them again."""
    web = machine()
    web.append((web.open(), b"{}\n"))
    shared_redis.client().script_flush()
    assert web.refused((web.open(), b"{}\n")) is None
    assert web.ledger()[0] == 2


def test_a_segment_without_lines_is_none(machine: MakeMachine, shared_redis: RedisProcess) -> None:
    """A segment that was opened and got nothing leaves nothing behind."""
    web = machine()
    segment = web.open()
    web.committer.seal(segment, drop=True)
    web.committer.step()
    assert web.take() == []
    assert shared_redis.client().keys("*segment*") == []
    assert web.store.unfinished() == []


def test_a_body_whose_lines_are_gone_is_an_error(machine: MakeMachine) -> None:
    """A worker that lost its lease must not upload what is left of the lines."""
    web, slow, quick = machine(), machine(), machine()
    segment = web.open()
    web.append((segment, b"{}\n"))
    web.seal(segment)
    [job] = slow.take()
    slow.expire(slow.server._connected(), "leased")
    [again] = quick.take()
    quick.finish(again)
    with pytest.raises(QueueUnavailable):
        lines_of(job)
    slow.finish(job)
    assert web.ledger() == (1, 1, 0, 0)


def test_the_oldest_is_known(machine: MakeMachine) -> None:
    """The age of the oldest segment that is not stored is every machine's."""
    web, worker = machine(), machine()
    assert worker.store.totals().oldest_microseconds == 0
    segment = web.open()
    web.append((segment, b"{}\n"))
    created = created_microseconds(segment.name)
    assert worker.store.totals().oldest_microseconds == created // 1000 * 1000
