"""A queue for each test, on a server of its own in this process."""

from collections.abc import Iterator

import pytest

from tests.support.sqs.server import SqsServer


@pytest.fixture
def sqs() -> Iterator[SqsServer]:
    """Start a server with one empty queue."""
    with SqsServer() as server:
        yield server
