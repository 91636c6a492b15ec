"""A service with the access file of docs/clients.md, and a server of pages of other origins."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.access.client import Client
from tests.acceptance.clients.examples import SECRETS, Counted, access_file
from tests.acceptance.clients.pages import Pages
from tests.acceptance.service import ServiceFactory
from tests.support.s3 import FakeS3, Fault

# Room for three payloads: one at the worker, one in the queue, one in the only open segment.
TINY = {"MAX_QUEUE": 1, "MAX_WORKERS": 1, "MAX_STREAMS": 1, "OBJECT_MAX_PAYLOADS": 1}
ROOM = 3


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    """Serve pages: one server, whose two names are two origins."""
    with Pages() as running:
        yield running


@pytest.fixture(scope="module")
def client(
    pages: Pages, server_mode: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """Run one service for the file."""
    with FakeS3() as s3:
        root = tmp_path_factory.mktemp("clients")
        with ServiceFactory(root, s3, server_mode=server_mode) as services:
            yield start(services, root / "access.toml", s3, origin=pages.allowed)


@pytest.fixture
def full(pages: Pages, s3: FakeS3, server_mode: str, tmp_path: Path) -> Iterator[Client]:
    """Run a service that is full, as S3 does not answer: every POST of payloads is a 503."""
    with ServiceFactory(tmp_path, s3, server_mode=server_mode) as services:
        client = start(services, tmp_path / "access.toml", s3, origin=pages.allowed, **TINY)
        s3.faults(Fault(kind="hang"))
        accepted = 0
        # Some are refused before that: the dispatcher takes its time to hand a segment over.
        while accepted < ROOM:
            answer = client.post("/payloads/fill", [{}], "clients-key")
            assert answer.status in (202, 503)
            accepted += answer.status == 202
        yield client


@pytest.fixture
def counted(client: Client) -> Counted:
    """Count what the file's service answers and stores."""
    return Counted(client)


def start(
    services: ServiceFactory, path: Path, s3: FakeS3, *, origin: str, **settings: object
) -> Client:
    """Start a service with the access file of the page."""
    path.write_text(access_file(origin=origin))
    service = services.make(ACCESS_FILE=path, **SECRETS, **settings)
    service.start()
    service.wait_ready()
    return Client(service, s3, path)
