"""The services that hostile clients are tested on: each server, with few threads."""

import math
from collections.abc import Iterator

import pytest

from tests.acceptance.hostile.samples import REQUEST_SECONDS
from tests.acceptance.service import ServiceFactory, each_server
from tests.support.s3 import FakeS3
from tests.support.service import Service

server_mode = each_server(scope="package")


@pytest.fixture(scope="package")
def bucket(server_mode: str) -> Iterator[FakeS3]:
    """Run one S3 for each server mode: nothing here breaks it."""
    del server_mode
    with FakeS3() as running:
        yield running


@pytest.fixture(scope="package")
def service(
    bucket: FakeS3, tmp_path_factory: pytest.TempPathFactory, server_mode: str
) -> Iterator[Service]:
    """Run one service for the folder: one process of few threads is the easiest to hold up."""
    with ServiceFactory(
        tmp_path_factory.mktemp("hostile"), bucket, server_mode=server_mode
    ) as service_factory:
        # The engine has one timeout for a head that is arriving and for a connection that idles.
        # Fewer connections than by default: what so many take at their most is reached soon, and
        # anything more is a leak.
        arguments = f"--keep-alive {math.ceil(REQUEST_SECONDS)} --worker-connections 256"
        yield service_factory.start(REQUEST_SECONDS=REQUEST_SECONDS, GUNICORN_CMD_ARGS=arguments)
