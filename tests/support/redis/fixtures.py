"""Servers for tests of the queue: one of any version for the session, newer ones where needed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis.server import RedisProcess, program_of
from tests.support.tools import needed

WAITAOF = (7, 2)


@pytest.fixture(scope="session")
def session_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """Start the server that most tests share."""
    program = needed(program_of(), "redis-server")
    with RedisProcess(program, tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def shared_redis(session_redis: RedisProcess) -> Iterator[RedisProcess]:
    """Return that server, empty and as it was configured at its start."""
    client = session_redis.client()
    client.flushall()
    client.config_set("maxmemory", 0)
    yield session_redis
    client.close()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisProcess]:
    """Start a server that a test may kill, and stop for a while."""
    with RedisProcess(needed(program_of(), "redis-server"), tmp_path / "redis") as server:
        yield server
