"""The servers that a stop is tested on, and how they are started."""

import pytest

from tests.acceptance.service import each_server
from tests.support.launch import Launch
from tests.support.launch.execute import execute
from tests.support.launch.fork import fork

server_mode = each_server(scope="function")


@pytest.fixture
def launch(server_mode: str) -> Launch:
    """Start the engine as a shell does, as its threads are not Python's, and the end is its own."""
    return execute if server_mode == "engine" else fork
