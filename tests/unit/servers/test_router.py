"""The reception: whom a request goes to, and that everybody is answered, whatever goes wrong."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.http.responses import Answer
from app.ingest.fast_path import FastPath
from app.ingest.handler import IngestHandler
from app.servers.granian import router as module
from app.servers.granian.router import RequestRouter
from tests.support.bench import settings_for
from tests.support.doubles import DictBucket
from workers.pipeline import Pipeline

PATIENCE = 10.0


class Coming:
    """A future of a body's part, as the engine has it: it comes, or is cancelled, when told so."""

    def __init__(self) -> None:
        self.callback: Callable[[Any], None] | None = None
        self.part = b""
        self.is_cancelled = False

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self.callback = callback

    def come(self, part: bytes) -> None:
        self.part = part
        assert self.callback is not None
        self.callback(self)

    def cancel(self) -> None:
        self.is_cancelled = True
        assert self.callback is not None
        self.callback(self)

    def cancelled(self) -> bool:
        return self.is_cancelled

    def result(self) -> bytes:
        return self.part


class Request:
    """A request as the engine shows it: watcher, scope and protocol in one."""

    def __init__(self, method: str = "POST", path: str = "/payloads", **headers: str) -> None:
        self.method, self.path = method, path
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.coming = Coming()
        self.asked = 0
        self.answers: list[Answer] = []

    @property
    def proto(self) -> "Request":
        return self

    @property
    def scope(self) -> "Request":
        return self

    def __aiter__(self) -> "Request":
        return self

    def __anext__(self) -> Any:
        self.asked += 1
        self.coming = Coming()
        return self.coming

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.answers.append(Answer(status, headers, body))


class Pool(ThreadPoolExecutor):
    """A pool that takes note of what is submitted, and does nothing."""

    def __init__(self) -> None:
        super().__init__(1)
        self.submitted: list[Any] = []
        self.tasks: list[Callable[[], Any]] = []

    def submit(self, task: Any, /, *arguments: Any, **_: Any) -> Any:
        self.submitted.append(arguments[1])
        self.tasks.append(lambda: task(*arguments))


@pytest.fixture
def uploads() -> Pool:
    """Make a pool without threads."""
    return Pool()


@pytest.fixture
def lookups() -> Pool:
    """Make another."""
    return Pool()


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """Make a pipeline whose threads do not run."""
    return Pipeline(settings_for(tmp_path, DURABILITY="memory"), bucket=DictBucket())


@pytest.fixture
def router(uploads: Pool, lookups: Pool, pipeline: Pipeline) -> RequestRouter:
    """Make a reception before a real front door."""
    handler = IngestHandler(pipeline.settings, pipeline=lambda: pipeline)
    fast_path = FastPath(handler, largest=1000)
    return RequestRouter(
        fast_path, uploads=uploads, lookups=lookups, wsgi=None, request_timeout=PATIENCE
    )


def json_post(length: int = 4, **headers: str) -> Request:
    """Make a request for the hot route."""
    return Request(content_length=str(length), content_type="application/json", **headers)


def test_a_body_that_comes_is_answered(router: RequestRouter, uploads: Pool) -> None:
    """Once it is here, in as many parts as it takes, and with the client's own id."""
    request = json_post(x_request_id="mine")
    router.request(request)
    assert request.answers == []
    for part in (b"[", b"{", b"}]"):
        assert request.answers == []
        request.coming.come(part)
    [answer] = request.answers
    assert answer.status == 202
    assert ("X-Request-ID", "mine") in answer.headers
    assert request.asked == 3, "nobody asks for the end of a body that is whole"
    assert uploads.submitted == []


@pytest.mark.parametrize(
    "request_",
    [
        Request(path="/payloads/NO", content_length="4"),
        Request(path="/payloadsx", content_length="4"),
        Request("PUT", "/payloads", content_length="4"),
        Request(content_length="1001"),
        Request(content_length="9" * 5000),
        Request(content_length="-1"),
        Request(content_length="4", content_encoding="gzip"),
        Request(content_length="4", transfer_encoding="chunked"),
        Request(transfer_encoding="chunked"),
    ],
)
def test_other_bodies_are_flasks(router: RequestRouter, uploads: Pool, request_: Request) -> None:
    """Another method, path or size, chunks and content codings get a thread."""
    router.request(request_)
    assert uploads.submitted == [request_]
    assert request_.asked == 0


@pytest.mark.parametrize(
    "request_", [Request("GET", "/stats"), Request(), Request("GET", content_length="0")]
)
def test_what_has_no_body_waits_for_no_body(
    router: RequestRouter, uploads: Pool, lookups: Pool, request_: Request
) -> None:
    """Probes and receipts have threads that no slow client can hold."""
    router.request(request_)
    assert (uploads.submitted, lookups.submitted) == ([], [request_])


def test_who_waits_too_long_for_a_thread_is_told(
    router: RequestRouter, uploads: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time to come whole counts from the request, not from when a thread takes it."""
    request = Request(transfer_encoding="chunked")
    router.request(request)
    later = time.monotonic() + 2 * PATIENCE
    monkeypatch.setattr(time, "monotonic", lambda: later)
    uploads.tasks.pop()()
    assert [answer.status for answer in request.answers] == [503]


def test_who_still_waits_at_a_stop_is_told(router: RequestRouter, lookups: Pool) -> None:
    """Nobody is left without an answer."""
    request = Request("GET", "/stats")
    router.request(request)
    router.close()
    lookups.tasks.pop()()
    [answer] = request.answers
    assert answer.status == 503
    assert ("Retry-After", "1") in answer.headers


def test_what_would_be_too_much_at_once_is_flasks(
    router: RequestRouter, uploads: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bodies on their way are bounded all together; one that has come makes room again."""
    monkeypatch.setattr(module, "HOT_BYTES", 1500)
    first, second, third = json_post(1000), json_post(1000), json_post(1000)
    router.request(first)
    router.request(second)
    assert uploads.submitted == [second]
    first.coming.come(b"[{}]".ljust(1000))
    router.request(third)
    assert uploads.submitted == [second]


def test_a_body_that_does_not_come_is_given_up(router: RequestRouter) -> None:
    """Its time over, the client is told; one with time left is waited for."""
    late, other = json_post(), json_post()
    router.request(late)
    [body] = router._coming
    router.request(other)
    router.expire(body.deadline)
    assert [answer.status for answer in late.answers] == [408]
    assert other.answers == []
    router.expire(body.deadline)
    other.coming.come(b"[{}]")
    assert [answer.status for answer in other.answers] == [202]
    assert router._bytes == 0


def test_half_a_body_is_a_408(router: RequestRouter, pipeline: Pipeline) -> None:
    """Where the client leaves in the middle nothing is kept."""
    request = json_post()
    router.request(request)
    request.coming.come(b"[{")
    request.coming.come(b"")
    assert [answer.status for answer in request.answers] == [408]
    assert pipeline.process_spool.unfinished() == []


def test_a_fault_of_ours_is_a_500(
    router: RequestRouter, lookups: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong, the engine gets no exception, and the client an answer."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(lookups, "submit", fail)
    monkeypatch.setattr(router.fast_path, "begin", fail)
    for request in (Request("GET", "/stats"), json_post()):
        router.request(request)
        if not request.answers:
            request.coming.come(b"[{}]")
        assert [answer.status for answer in request.answers] == [500]
