"""A service with an access file, on each server."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.access.client import ADMIN, FILE, Client
from tests.acceptance.service import ServiceFactory, each_server
from tests.support.s3 import FakeS3

server_mode = each_server(scope="package")


@pytest.fixture(scope="package")
def client(server_mode: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Run one service for the folder."""
    root = tmp_path_factory.mktemp("access")
    access_file = root / "access.toml"
    access_file.write_text(FILE)
    with (
        FakeS3() as s3,
        ServiceFactory(root, s3, server_mode=server_mode) as service_factory,
    ):
        service = service_factory.make(
            ACCESS_FILE=access_file, GITHUB_SECRET="It's a Secret", SLACK_SECRET="slack"
        )
        service.start()
        service.wait_ready()
        yield Client(service, s3, access_file)


@pytest.fixture(autouse=True)
def no_key_in_the_log(client: Client) -> Iterator[None]:
    """See that no key and no secret reaches the log, a metric or a line in the bucket."""
    yield
    figures = client.request("GET", "/metrics", Authorization=f"Bearer {ADMIN}").body
    stored = json.dumps([line.decode() for _, _, line in client.s3.lines()])
    for text in (client.service.log_path.read_text(), figures.decode(), stored):
        # Payloads are made by chance, and may have the name of an option in them.
        assert not re.search("[a-z]-key", text)
        assert "It's a Secret" not in text


@pytest.fixture
def own_access_file(tmp_path: Path) -> Path:
    """Name an access file of the test's own."""
    return tmp_path / "access.toml"
