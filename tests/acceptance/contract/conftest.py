"""The services that the contract is tested on: each server, each durability."""

from collections.abc import Iterator

import pytest

from tests.acceptance.contract.samples import MAX_BODY
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


@pytest.fixture(scope="package", params=["disk", "memory"])
def service(
    bucket: FakeS3,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    server_mode: str,
) -> Iterator[Service]:
    """Run one service for the folder, in each durability."""
    with ServiceFactory(
        tmp_path_factory.mktemp("contract"), bucket, server_mode=server_mode
    ) as service_factory:
        yield service_factory.start(
            DURABILITY=request.param, MAX_BODY_BYTES=MAX_BODY, WEB_CONCURRENCY=2
        )
