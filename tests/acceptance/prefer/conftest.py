"""Services that requests with preferences are sent to, on each server and durability."""

from collections.abc import Iterator

import pytest

from tests.acceptance.prefer.samples import Waiting
from tests.acceptance.service import ServiceFactory
from tests.support import wait_until
from tests.support.s3 import FakeS3

# Each server, and each way to be durable.
KINDS = (("engine", "disk"), ("engine", "memory"), ("gthread", "disk"))


@pytest.fixture(scope="package", params=KINDS, ids="-".join)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Waiting]:
    """Run one service for the folder, whose segments are sealed late but for those that wait."""
    server_mode, durability = request.param
    with (
        FakeS3() as s3,
        ServiceFactory(
            tmp_path_factory.mktemp("prefer"), s3, server_mode=server_mode
        ) as service_factory,
    ):
        service_factory.expect_errors("dead letter")
        service = service_factory.start(DURABILITY=durability, OBJECT_MAX_AGE_SECONDS=600)
        yield Waiting(service, s3)


@pytest.fixture
def waiting(running: Waiting) -> Waiting:
    """Hand the folder's service out, with an S3 that answers."""
    return running


@pytest.fixture
def troubled(running: Waiting) -> Iterator[Waiting]:
    """Hand it out for a test that lets S3 fail; wait until what failed has gone up after it."""
    yield running
    running.s3.clear()
    wait_until(
        lambda: running.post("settled", [{}], "wait=9").status == 201,
        timeout=50,
        what="a 201 after the fault",
    )
