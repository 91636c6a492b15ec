"""Fencing and leases: every order of steps keeps the promises, and each rule is needed for it."""

import pytest

from tests.integration.queue.conftest import MakeMachine, Mutate
from tests.integration.queue.model.trial import Broken, Trial
from tests.support.redis.server import RedisProcess
from workers.queue import queued_body, redis_watermark

SEEDS = 12
# A mutant of a script: what is taken out of it, and what comes there instead.
MUTANTS = {
    "no fence": (
        "append",
        "if parts ~= part - 1 or (parts > 0 and found[2] ~= 'open') then return 'fenced' end",
        "",
    ),
    "an object that is done is opened again": (
        "append",
        "if part == 1 and redis.call('EXISTS', key('done:' .. name)) == 1 then return 'fenced' end",
        "",
    ),
    "an append is retried without its part number": (
        "append",
        "if parts ~= part then\n    if parts ~= part - 1 or (parts",
        "do\n    if (parts",
    ),
    "a segment is older than the watermark": (
        "append",
        "then return 'late' end",
        "then redis.call('PING') end",
    ),
    "the watermark does not wait for what is not stored": (
        "watermark",
        "if oldest[2] then through = math.min(through, tonumber(oldest[2])) end",
        "",
    ),
    "the lease is not checked at finish": (
        "finish",
        "if not is_owner(name, ARGV[2]) then return 0 end",
        "",
    ),
    "a dead writer's segments stay open": (
        "take",
        "then make_ready(name, now) end",
        "then redis.call('PING') end",
    ),
    "an expired lease is for good": (
        "take",
        "redis.call('ZADD', key('ready'), now, name)",
        "",
    ),
}


@pytest.fixture(autouse=True)
def _no_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the watermark be the time, so that new segments come too late for it."""
    monkeypatch.setattr(redis_watermark, "MARGIN_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def _some_parts_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compress parts of one line from the tenth on."""
    monkeypatch.setattr(queued_body, "COMPRESSED_FROM", len(b'{"n":10}\n'))


def run_trials(
    machine: MakeMachine, server: RedisProcess, *, seeds: int, finish_first: bool = False
) -> None:
    """Run trials until one breaks a promise."""
    for seed in range(seeds):
        server.client().flushall()
        Trial(seed, machine, finish_first=finish_first).run()


def test_every_promise_holds(machine: MakeMachine, shared_redis: RedisProcess) -> None:
    """What was answered is stored once, what was refused is not, and the ledger balances."""
    run_trials(machine, shared_redis, seeds=SEEDS)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_each_rule_is_needed(
    machine: MakeMachine,
    shared_redis: RedisProcess,
    mutate: Mutate,
    mutant: str,
) -> None:
    """Without one of the rules some order of steps breaks a promise."""
    mutate(*MUTANTS[mutant])
    with pytest.raises(Broken):
        run_trials(machine, shared_redis, seeds=100)


def test_an_object_comes_before_the_finish(
    machine: MakeMachine, shared_redis: RedisProcess
) -> None:
    """A worker that finishes a job before its object is there loses payloads."""
    with pytest.raises(Broken):
        run_trials(machine, shared_redis, seeds=100, finish_first=True)
