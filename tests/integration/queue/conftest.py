"""A store on a real server, and what stands around it in a process."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.queue.machine import Machine
from tests.support.redis.fixtures import own_redis, session_redis, shared_redis
from tests.support.redis.server import RedisProcess

__all__ = ["own_redis", "session_redis", "shared_redis"]

MakeMachine = Callable[..., Machine]


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
