"""Idempotency keys in Redis: accepted by the append of their payloads, known to all machines."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import pytest

from tests.integration.queue.conftest import MakeMachine
from tests.integration.queue.machine import Machine, lines_of, runs_of
from tests.support import wait_until
from tests.support.redis.server import RedisProcess
from workers.errors import (
    Full,
    KeyInUse,
    KeyReused,
    NotConfirmed,
    NotDurable,
    QueueUnavailable,
    QueueUnconfirmed,
)
from workers.keys.claim import Claim, Replay
from workers.keys.records import digest_of
from workers.queue import redis_client, redis_keys
from workers.segments.future import DurabilityFuture
from workers.spool.counters import Field

KEY, BODY = digest_of("key", "", "s", "a"), sha256(b"{}").digest()


def claimed(machine: Machine, key: bytes = KEY) -> Claim:
    """Claim a key that is free."""
    found = machine.keys.claim(key, BODY)
    assert isinstance(found, Claim)
    return found


def accepted(machine: Machine, key: bytes = KEY) -> DurabilityFuture:
    """Accept a request of one payload in a segment of its own."""
    future = machine.append((machine.open(), b"{}\n"), claim=claimed(machine, key))
    assert future.exception is None
    return future


def numbered(number: int) -> bytes:
    """Return a digest."""
    return digest_of("key", str(number))


def test_a_retry_elsewhere_finds_the_places(machine: MakeMachine) -> None:
    """Another machine answers for the same runs, of several segments too, and stores nothing."""
    web, other = machine(), machine()
    future = web.append((web.open(), b"{}\n"), (web.open(), b"{}\n{}\n"), claim=claimed(web))
    found = other.keys.claim(KEY, BODY)
    assert isinstance(found, Replay)
    assert found.total == 3
    assert [(run.segment.name, run.first_line, run.count) for run in found.runs] == [
        (run.segment.name, run.first_line, run.count) for run in future.runs
    ]
    assert other.ledger() == (3, 0, 3, 0)
    assert other.store.counters[Field.KEYS_REPLAYED] == 1


def test_another_body_is_refused(machine: MakeMachine) -> None:
    """A key stands for one body; the bodies of deliveries are not compared."""
    web = machine()
    accepted(web)
    with pytest.raises(KeyReused):
        web.keys.claim(KEY, sha256(b"[]").digest())
    assert isinstance(web.keys.claim(KEY, sha256(b"[]").digest(), compare=False), Replay)


def test_a_claim_keeps_others_out(machine: MakeMachine) -> None:
    """While one has a key no other request gets it, on this machine and on others."""
    web, other = machine(), machine()
    claimed(web)
    for each in (web, other):
        with pytest.raises(KeyInUse):
            each.keys.claim(KEY, BODY)


def test_a_refusal_frees_the_key(machine: MakeMachine) -> None:
    """At once for this process, for others with its next check."""
    web, other = machine(), machine()
    claimed(web).release()
    claimed(web).settle(NotDurable("refused"))
    web.store.check()
    accepted(other)


def test_a_claim_ends_by_itself(machine: MakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies keeps a key for some seconds only."""
    monkeypatch.setattr(redis_keys, "CLAIM_MILLISECONDS", 1)
    claimed(machine())
    accepted(machine())


def test_a_lost_claim_accepts_nothing_twice(machine: MakeMachine) -> None:
    """Of two that have claimed a key the second to append keeps nothing, nor does its group."""
    web, other = machine(), machine()
    late = claimed(web)
    web.server.call("DEL", f"{web.server.prefix}claim:".encode() + KEY)
    accepted(other)
    segment = web.open()
    with_it = web.committer.append(runs_of([(segment, b"{}\n")]))
    first = web.append((segment, b"{}\n"), claim=late)
    assert isinstance(first.exception, KeyInUse)
    assert isinstance(with_it.exception, NotDurable)
    assert segment.write_failed
    assert web.ledger() == (1, 0, 1, 0)
    assert isinstance(web.keys.claim(KEY, BODY), Replay)


@pytest.mark.parametrize("done", [True, False])
def test_an_append_without_an_answer(
    machine: MakeMachine, monkeypatch: pytest.MonkeyPatch, *, done: bool
) -> None:
    """Whether it was done or not, a retry ends with the payloads stored once."""
    web, other = machine(), machine()
    run = web.server.script

    def lost(name: str, *arguments: bytes, confirmed: bool = False) -> object:
        if name != "append":
            return run(name, *arguments, confirmed=confirmed)
        if done:
            run(name, *arguments)
        raise QueueUnconfirmed("no answer")

    claim = claimed(web)
    monkeypatch.setattr(web.server, "script", lost)
    segment = web.open()
    assert isinstance(web.append((segment, b"{}\n"), claim=claim).exception, NotConfirmed)
    monkeypatch.undo()
    web.store.check()
    found = other.keys.claim(KEY, BODY)
    assert isinstance(found, Replay) is done
    if isinstance(found, Claim):
        other.append((other.open(), b"{}\n"), claim=found)
    assert web.ledger() == (1, 0, 1, 0)


def test_an_append_that_is_sent_twice_keeps_its_key(
    machine: MakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second finds its part and does not take its own key for another's."""
    web = machine()
    run, lose = web.server.script, [QueueUnconfirmed("no answer")]

    def losing(name: str, *arguments: bytes, confirmed: bool = False) -> object:
        answer = run(name, *arguments, confirmed=confirmed)
        if name == "append" and lose:
            raise lose.pop()
        return answer

    claim = claimed(web)
    monkeypatch.setattr(web.server, "script", losing)
    assert web.append((web.open(), b"{}\n"), claim=claim).exception is None
    assert web.ledger() == (1, 0, 1, 0)
    assert isinstance(web.keys.claim(KEY, BODY), Replay)


def test_what_a_retry_finds_has_to_be_confirmed(
    machine: MakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where replicas are asked for and none has it, the answer is that it is not confirmed."""
    monkeypatch.setattr(redis_client, "ANSWER_SECONDS", 0.3)
    accepted(machine())
    with pytest.raises(NotConfirmed):
        machine(replicas=1).keys.claim(KEY, BODY)


def test_keys_have_their_time(machine: MakeMachine, shared_redis: RedisProcess) -> None:
    """After it a key is a new request, and its record makes room; no early end is counted."""
    web = machine(seconds=600)
    accepted(web)
    age(web, seconds=601)
    again = accepted(web)
    assert isinstance(again.claim, Claim)
    assert web.ledger() == (2, 0, 2, 0)
    assert shared_redis.client().llen(f"{web.server.prefix}key_order") == 1
    age(web, seconds=601)
    web.keys.sweep(is_due=True)
    assert held(web) == {"keys": 0, "order": 0, "bytes": 0}
    assert web.store.counters[Field.KEYS_DROPPED_EARLY] == 0


def test_the_oldest_of_too_many_give_way(machine: MakeMachine) -> None:
    """The last so many are known, and it is counted that others ended early."""
    web = machine(max_keys=3)
    for number in range(8):
        accepted(web, numbered(number))
    assert held(web)["keys"] <= 4
    assert isinstance(web.keys.claim(numbered(7), BODY), Replay)
    assert isinstance(web.keys.claim(numbered(5), BODY), Replay)
    assert isinstance(web.keys.claim(numbered(4), BODY), Claim)
    assert web.store.counters[Field.KEYS_DROPPED_EARLY] == 5


def test_keys_take_a_quarter_of_the_budget_at_most(machine: MakeMachine) -> None:
    """They count against `QUEUE_MAX_BYTES`, and give way before payloads do."""
    web = machine(max_bytes=1 << 14)
    for number in range(30):
        future = accepted(web, numbered(number))
        web.seal(future.runs[0].segment)
        [job] = web.take()
        web.finish(job)
        assert web.store.totals()[Field.HELD_BYTES] == held(web)["bytes"] <= (1 << 12) + 1000
    assert 5 < held(web)["keys"] < 20
    assert web.store.counters[Field.KEYS_DROPPED_EARLY] == 30 - held(web)["keys"]


def test_a_full_queue_keeps_no_key(machine: MakeMachine) -> None:
    """What is refused for want of room has its key again."""
    web = machine(max_bytes=1 << 16)
    refused = web.append((web.open(), b"0" * (1 << 16) + b"\n"), claim=claimed(web))
    assert isinstance(refused.exception, Full)
    assert held(web) == {"keys": 0, "order": 0, "bytes": 0}
    accepted(web)


def test_without_a_key_there_is_no_more_to_do(machine: MakeMachine) -> None:
    """A request without a key is one script, as ever."""
    web = machine()
    segment = web.open()
    before = evaluations(web)
    web.append((segment, b"{}\n"))
    assert evaluations(web) - before == 1


def test_requests_that_come_meanwhile_ask_together(machine: MakeMachine) -> None:
    """However many keys wait for an answer of the server, the next script is for all of them."""
    web = machine()
    claimed(web, numbered(0))
    with ThreadPoolExecutor(4) as threads:
        with web.keys._asking:
            before = evaluations(web)
            asked = [threads.submit(claimed, web, numbered(number)) for number in range(1, 5)]
            wait_until(lambda: len(web.keys._waiting) == 4, timeout=10, what="four questions")
        assert {each.result().digest for each in asked} == {numbered(n) for n in range(1, 5)}
    assert evaluations(web) - before == 1


def test_a_server_that_is_away_is_said_to_each(own_redis: RedisProcess) -> None:
    """All that wait are refused, and their keys are free afterwards."""
    web = Machine(own_redis)
    own_redis.kill()
    web.server.forget()
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(claimed, web, numbered(number)) for number in range(4)]
        for each in asked:
            assert isinstance(each.exception(), QueueUnavailable)
    own_redis.start()
    web.store.check()
    claimed(web, numbered(0))
    web.store.close()


def evaluations(machine: Machine) -> int:
    """Return how many scripts the server has run."""
    stats = machine.server.call("INFO", "commandstats").decode()
    [line] = [line for line in stats.splitlines() if line.startswith("cmdstat_evalsha:")]
    return int(line.partition("calls=")[2].partition(",")[0])


def test_lines_of_keyed_requests_are_as_others(machine: MakeMachine) -> None:
    """The object does not show the key."""
    web = machine()
    future = accepted(web)
    web.seal(future.runs[0].segment)
    [job] = web.take()
    assert lines_of(job) == b"{}\n"


def age(machine: Machine, *, seconds: int) -> None:
    """Let every key have been accepted some seconds earlier."""
    machine.server.call(
        "EVAL",
        "local p = ARGV[1]\n"
        "local function older(text)\n"
        "  return struct.pack('<I4', struct.unpack('<I4', text) - ARGV[2]) .. text:sub(5)\n"
        "end\n"
        "local all = redis.call('HGETALL', p .. 'keys')\n"
        "for at = 1, #all, 2 do redis.call('HSET', p .. 'keys', all[at], older(all[at + 1])) end\n"
        "for at, each in ipairs(redis.call('LRANGE', p .. 'key_order', 0, -1)) do\n"
        "  redis.call('LSET', p .. 'key_order', at - 1, older(each))\n"
        "end",
        *(1, f"{machine.server.prefix}ledger", machine.server.prefix, seconds),
    )


def held(machine: Machine) -> dict[str, int]:
    """Return what the server holds of keys."""
    call, prefix = machine.server.call, machine.server.prefix
    return {
        "keys": call("HLEN", f"{prefix}keys"),
        "order": call("LLEN", f"{prefix}key_order"),
        "bytes": int(call("HGET", f"{prefix}ledger", "key_bytes") or 0),
    }
