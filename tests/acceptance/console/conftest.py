"""One browser, one service and one fake S3 for all tests of the console."""

from collections.abc import Iterator

import pytest

from tests.acceptance.clients import chromium
from tests.acceptance.clients.chromium import Chromium
from tests.acceptance.console.console import Console
from tests.acceptance.service import ServiceFactory
from tests.support.s3 import FakeS3
from tests.support.tools import needed


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Run one browser."""
    program = needed(chromium.find(), "chromium")
    with Chromium(program, tmp_path_factory.mktemp("chromium") / "profile") as running:
        yield running


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServiceFactory, FakeS3]]:
    """Start services on one fake S3."""
    with FakeS3() as s3:
        root = tmp_path_factory.mktemp("console")
        with ServiceFactory(root, s3, server_mode="engine") as factory:
            factory.expect_errors("dead letter")
            yield factory, s3


@pytest.fixture(scope="module")
def running(browser: Chromium, services: tuple[ServiceFactory, FakeS3]) -> Console:
    """Run one service, and open its console once."""
    factory, s3 = services
    return Console(browser, factory.start(MAX_WORKERS=3), s3)


@pytest.fixture
def console(running: Console) -> Iterator[Console]:
    """Show the console anew; afterwards see that the page did nothing that it must not."""
    running.open()
    yield running
    running.s3.listen_again()
    running.s3.clear()
    running.leave()
    running.assert_nothing_wrong()
