"""The servers that a stop is tested on."""

import pytest

from tests.acceptance.service import (
    SERVERS,
)


@pytest.fixture(scope="package", params=SERVERS)
def server_mode(request: pytest.FixtureRequest) -> str:
    """Say which way requests take: everything here holds on each."""
    return str(request.param)
