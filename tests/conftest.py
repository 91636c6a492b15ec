"""The fixtures that tests of every layer share: a bench, a bucket in a dict, a fake S3.

Also the rules that hold for all of them: no thread survives its test, no packet leaves this
machine, and a unit test neither starts a thread, nor sleeps, nor connects.
"""

import functools
import gc
import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
from _pytest.nodeid import NodeId

from tests.support.bench import Bench, MakeBench, settings_for
from tests.support.doubles import DictBucket
from tests.support.s3 import LOOPBACK, FakeS3
from workers.spool.disk import Disk
from workers.upload.s3 import Bucket

# moto's server, like every socketserver, has a thread for each connection that is still open.
NOT_OURS = "process_request_thread"
TESTS = Path(__file__).parent
UNIT_TESTS, ACCEPTANCE_TESTS = TESTS / "unit", TESTS / "acceptance"
WIDER = ("package", "module")


def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes share the tests (`-n auto`): while two wait, another computes."""
    return 3 * len(os.sched_getaffinity(0))


def pytest_configure() -> None:
    """Let Ctrl-C end what tests start, too where a shell's background job began with it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart() -> None:
    """Look for no garbage while thousands of tests are collected, which all stay."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage from now on, but not among what has been collected."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep tests that share a service in one process, and begin with those: they take longest.

    Unit tests come last, so that all processes end at about the same time.
    """
    grouped = {item: _group(item) for item in items}
    for item, group in grouped.items():
        if group and hasattr(config, "workerinput"):
            # xdist 3.8 would add it to what pytest 9.2 no longer calls the id.
            path, _, name = item.nodeid.partition("::")
            item._id = NodeId(path=path, names=(f"{name}@{group}",))
            assert item.nodeid.endswith(f"@{group}"), "xdist groups tests by their ids"
    items.sort(key=lambda item: (grouped[item].startswith("unit/"), " " not in grouped[item]))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Report a test by its own name, once xdist's processes have its result."""
    name, _, group = report.nodeid.rpartition("@")
    if hasattr(report, "node") and "]" not in group:
        report.nodeid = name or report.nodeid


def _group(item: pytest.Item) -> str:
    """Return what a test shares: with its folder a service, else with its module; "" for none."""
    module, folder, is_of_services = _place(item.path)
    if not is_of_services and not item.get_closest_marker("chaos"):
        return module
    found = cast("pytest.Function", item)._fixtureinfo.name2fixturedefs
    scopes = {name: definitions[-1].scope for name, definitions in found.items()}
    params = cast("Any", item).callspec.params if hasattr(item, "callspec") else {}
    shared = [str(value) for name, value in params.items() if scopes.get(name) in WIDER]
    if "package" in scopes.values():
        return " ".join([folder, *shared])
    return " ".join([module, *shared]) if "module" in scopes.values() else ""


@functools.cache
def _place(path: Path) -> tuple[str, str, bool]:
    """Return a test's module, its folder with a space, and whether it is an acceptance test."""
    module = path.relative_to(TESTS)
    return str(module), f"{module.parent} ", path.is_relative_to(ACCEPTANCE_TESTS)


@pytest.fixture(autouse=True)
def _no_thread_survives() -> Iterator[None]:
    """Fail the test that leaves a thread running."""
    before = set(threading.enumerate())
    yield
    started = [thread for thread in threading.enumerate() if thread not in before]
    left = [thread for thread in started if NOT_OURS not in thread.name]
    for thread in left:
        thread.join(1)
    alive = [thread.name for thread in left if thread.is_alive()]
    assert not alive, f"threads survive this test: {alive}"


@pytest.fixture(autouse=True, scope="session")
def _no_packet_leaves() -> Iterator[None]:
    """Let sockets connect to loopback only, so that no test depends on, or tells, the outside."""
    connect = socket.socket.connect

    def connect_locally(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in (LOOPBACK, "localhost", "::1"):
            raise AssertionError(f"a test may not connect to {address}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_locally)
        yield


@pytest.fixture(autouse=True)
def _unit_tests_are_still(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep threads, sleeps and connections out of unit tests."""

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("a unit test starts no thread, does not sleep and does not connect")

    with pytest.MonkeyPatch.context() as patch:
        if request.path.is_relative_to(UNIT_TESTS):
            patch.setattr(threading.Thread, "start", refuse)
            patch.setattr(time, "sleep", refuse)
            patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture
def bucket() -> DictBucket:
    """Make an empty bucket in a dict."""
    return DictBucket()


@pytest.fixture
def make_bench(tmp_path: Path, bucket: DictBucket) -> MakeBench:
    """Hand out benches on one spool and one bucket: each is another process's pipeline."""

    def make(disk: Disk | None = None, **environ: object) -> Bench:
        return Bench(tmp_path / "spool", bucket=bucket, disk=disk, **environ)

    return make


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    """Make one bench, with settings as they are by default."""
    return make_bench()


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[FakeS3]:
    with FakeS3() as running:
        yield running


@pytest.fixture(scope="session")
def real_bucket(_s3_server: FakeS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """Connect to that server as the service does: clients take long to make, and can be shared."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _s3_server.environ().items():
            patch.setenv(name, value)
        bucket = Bucket.connect(settings_for(tmp_path_factory.mktemp("unused"), MAX_WORKERS=20))
    yield bucket
    bucket.close()


_numbers = itertools.count(1)


@pytest.fixture
def s3(_s3_server: FakeS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeS3]:
    """Point boto3 at a faultless fake S3 with an empty bucket; the server is shared by the run."""
    # A thread that a test left behind means another bucket.
    _s3_server.renew(f"bucket-{next(_numbers)}")
    for name, value in _s3_server.environ().items():
        monkeypatch.setenv(name, value)
    yield _s3_server
    _s3_server.listen_again()
    _s3_server.clear()
