"""A store on a real server, and what stands around it in a process."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.queue.machine import Machine
from tests.support.redis.fixtures import own_redis, session_redis, shared_redis
from tests.support.redis.server import RedisProcess
from workers.queue import redis_client

__all__ = ["own_redis", "session_redis", "shared_redis"]

MakeMachine = Callable[..., Machine]
# Changes a rule of a script: its name, what is taken out, and what comes there instead.
Mutate = Callable[[str, str, str], None]


@pytest.fixture
def machine(shared_redis: RedisProcess) -> Iterator[MakeMachine]:
    """Make processes on the shared server, each as if on a machine of its own."""
    made: list[Machine] = []

    def make(**options: Any) -> Machine:
        made.append(Machine(shared_redis, **options))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


@pytest.fixture
def mutate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mutate]:
    """Change rules of scripts."""

    def change(script: str, old: str, new: str) -> None:
        source = redis_client.source

        def changed(name: str) -> str:
            text = source(name)
            if name == script:
                assert text.count(old) == 1
                text = text.replace(old, new)
            return text

        redis_client.sha_of.cache_clear()
        monkeypatch.setattr(redis_client, "source", changed)

    yield change
    redis_client.sha_of.cache_clear()
