"""Idempotency keys in any order of steps: each is stored once and answered in one way."""

import pytest

from tests.integration.queue.conftest import MakeMachine, Mutate
from tests.integration.queue.model.keyed_trial import KeyedTrial
from tests.integration.queue.model.trial import Broken
from tests.support.redis.server import RedisProcess

SEEDS = 6
CHECKED = "if #known > 0 then return known end"
WRITTEN = "redis.call('HSET', key('keys'), ARGV[at], accepted .. ARGV[at + 1])"
# Key records before anything is known of their payloads.
FIRST = """
for at = last + 2, #ARGV, 2 do
  local accepted = struct.pack('<I4', tonumber(time[1]))
  redis.call('HSETNX', key('keys'), ARGV[at], accepted .. ARGV[at + 1])
end
local fresh, more = {}, 0
"""


def run_trials(
    machine: MakeMachine, server: RedisProcess, *, seeds: int, keys_after: bool = False
) -> None:
    """Run trials until one breaks a promise."""
    for seed in range(seeds):
        server.client().flushall()
        KeyedTrial(seed, machine, keys_after=keys_after).run()


def test_each_key_is_stored_once(machine: MakeMachine, shared_redis: RedisProcess) -> None:
    """Through losses, delays and second claims its answers are the same and say where it is."""
    run_trials(machine, shared_redis, seeds=SEEDS)


def test_the_append_looks_for_the_key(
    machine: MakeMachine, shared_redis: RedisProcess, mutate: Mutate
) -> None:
    """A claim alone does not do: it may be lost, or its append may come late."""
    mutate("append", CHECKED, "")
    with pytest.raises(Broken):
        run_trials(machine, shared_redis, seeds=100)


def test_a_key_does_not_come_before_its_data(
    machine: MakeMachine, shared_redis: RedisProcess, mutate: Mutate
) -> None:
    """Where the append is refused the key would be answered, and its payloads nowhere."""
    mutate("append", "local fresh, more = {}, 0\n", FIRST)
    mutate("append", CHECKED, "")
    with pytest.raises(Broken):
        run_trials(machine, shared_redis, seeds=100)


def test_a_key_does_not_come_after_its_data(
    machine: MakeMachine, shared_redis: RedisProcess, mutate: Mutate
) -> None:
    """An append whose answer is lost would leave payloads without a key, and they come again."""
    mutate("append", WRITTEN, "")
    with pytest.raises(Broken):
        run_trials(machine, shared_redis, seeds=100, keys_after=True)
