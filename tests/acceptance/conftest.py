"""What every acceptance test stands on: a fake S3, and gunicorn processes that are always ended."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.service import ServiceFactory
from tests.support.launch import Launch
from tests.support.launch.fork import fork
from tests.support.s3 import FakeS3


@pytest.fixture
def s3(_s3_server: FakeS3) -> FakeS3:
    """Empty the run's fake S3, and let it work without a fault."""
    _s3_server.renew("bucket")
    return _s3_server


@pytest.fixture(params=["disk", "memory"])
def durability(request: pytest.FixtureRequest) -> str:
    """Say what `DURABILITY` to run with: each in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def server_mode() -> str:
    """Say which of `SERVER_MODES` to run; a folder that must hold on others too overrides it."""
    return "engine"


@pytest.fixture(scope="session")
def launch() -> Launch:
    """Say how services are started; `executed` overrides it where that is what a test is of."""
    return fork


@pytest.fixture
def service_factory(
    s3: FakeS3, tmp_path: Path, server_mode: str, launch: Launch
) -> Iterator[ServiceFactory]:
    """Hand out services on that S3; end them, and see that their logs are as they should be."""
    with ServiceFactory(tmp_path, s3, server_mode=server_mode, launch=launch) as service_factory:
        yield service_factory
