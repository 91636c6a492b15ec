"""Services for tests, and the questions that every test ends with: is all stored, is the log sound.

Knows the service by its settings and its HTTP contract; imports none of it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

import pytest

from tests.support.flood import Flood
from tests.support.launch import Launch
from tests.support.launch.execute import execute
from tests.support.launch.fork import fork
from tests.support.oracle import judge
from tests.support.s3 import FakeS3
from tests.support.service import Service

# The fake S3 does not ask who signs, so that this can be looked for in every log.
SECRET = "wJalrXUtnFEMI-never-in-a-log"
# The ways that a request can take: by the engine, or as Flask serves it under any WSGI server.
SERVER_MODES = {
    "engine": ("wsgi:app", {"ENGINE": "granian"}),
    "gthread": ("wsgi:app", {"ENGINE": "gthread"}),
}
SERVERS = tuple(SERVER_MODES)
QUICK = {"OBJECT_MAX_AGE_SECONDS": 0.1, "WEB_CONCURRENCY": 1}


def each_server(*, scope: Literal["function", "module", "package"]) -> Any:
    """Return a fixture `server_mode` that takes each server in turn: all tests hold on each."""

    @pytest.fixture(scope=scope, params=SERVERS, name="server_mode")
    def server_mode(request: pytest.FixtureRequest) -> str:
        return str(request.param)

    return server_mode


def executed() -> Any:
    """Return a fixture `launch` that starts services as a shell does: for tests of that."""

    @pytest.fixture(scope="session", name="launch")
    def launch() -> Launch:
        return execute

    return launch


class ServiceFactory:
    """Starts services, in one directory each, and ends them all.

    As a context manager it judges the logs at the end: lines of JSON, no error that was not
    `expected`, no credential.
    """

    def __init__(
        self, directory: Path, s3: FakeS3, *, server_mode: str, launch: Launch = fork
    ) -> None:
        self.server_mode = server_mode
        self.expected: set[str] = set()
        self._directory = directory
        self._s3 = s3
        self._launch = launch
        self._services: list[Service] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        for service in self._services:
            service.kill_group()
        if failed is None:
            for service in self._services:
                self._assert_log_is_sound(service)

    def make(self, *arguments: str, **settings: object) -> Service:
        """Return a service that is not started; a setting of None is left to its default.

        `arguments` are for gunicorn's command line.
        """
        directory = self._directory / f"service-{len(self._services)}"
        directory.mkdir()
        app, way = SERVER_MODES[self.server_mode]
        given = {**QUICK, **way, "AWS_SECRET_ACCESS_KEY": SECRET, **settings}
        chosen = {name: value for name, value in given.items() if value is not None}
        made = Service(
            directory,
            self._s3,
            settings=chosen,
            app=app,
            arguments=arguments,
            launch=self._launch,
        )
        self._services.append(made)
        return self._services[-1]

    def start(self, **settings: object) -> Service:
        """Return a service all of whose processes are ready."""
        service = self.make(**settings)
        service.start()
        service.wait_ready()
        workers = int(service.settings.get("MAX_WORKERS", 8))
        everybody = workers * int(service.settings["WEB_CONCURRENCY"])
        service.wait_stats(lambda stats: stats["idle_workers"] >= everybody)
        return service

    def expect_errors(self, *events: str) -> None:
        """Let events that begin so be logged as errors."""
        self.expected.update(events)

    def _assert_log_is_sound(self, service: Service) -> None:
        logs = service.logs()
        assert not logs.raw, "every line of the log is JSON"
        errors = [event for event in logs.events if event["level"] in {"ERROR", "CRITICAL"}]
        expected = tuple(self.expected)
        surprises = [event for event in errors if not event["event"].startswith(expected)]
        assert not surprises, f"no error is logged that the test does not expect: {surprises}"
        assert SECRET not in service.log_path.read_text()


def settle(service: Service, *, timeout: float = 50.0) -> dict[str, Any]:
    """Block until nothing is pending any more, and return the stats.

    A segment is counted before its file is removed, and only then is it not the oldest any more.
    """
    return service.wait_stats(
        lambda stats: stats["pending"] == stats["oldest_unstored_seconds"] == 0, timeout=timeout
    )


def assert_promise_kept(service: Service, s3: FakeS3, floods: Flood | Iterable[Flood]) -> None:
    """Wait until nothing is pending; then hold the promise, and the ledger against it.

    Raises:
        AssertionError: a payload answered 202 is not stored once, or the books say otherwise.
    """
    given = [floods] if isinstance(floods, Flood) else list(floods)
    stats = settle(service)
    verdict = judge(given, s3, service.environ()["S3_BUCKET"])
    verdict.assert_clean()
    assert verdict.acked <= stats["accepted"] <= verdict.acked + verdict.unknown
    assert stats["stored"] == stats["accepted"] == verdict.stored
    assert stats["dead"] == 0


def assert_each_object_was_put_once(s3: FakeS3, bucket: str | None = None) -> None:
    """See that no PUT ever took effect on a key that was there."""
    objects = s3.objects(bucket)
    assert objects
    assert {stored.stored_count for stored in objects.values()} == {1}
