"""A Redis server of the tests' own: one that cannot start says why, and is gone."""

from pathlib import Path

import pytest

from tests.support.redis.server import RedisProcess, program_of
from tests.support.tools import needed


def test_a_server_that_ends_says_why(tmp_path: Path) -> None:
    """No test waits for a server that has ended."""
    program = needed(program_of(), "redis-server")
    server = RedisProcess(program, tmp_path, options=("--no-such-option", "1"))
    with pytest.raises(RuntimeError, match="no-such-option"):
        server.start()
    with pytest.raises(AssertionError):
        _ = server.pid
