"""The engine's seam: Granian's private names as we use them, and what becomes of a request."""

import importlib.metadata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from granian import _granian as _typed
from granian.http import HTTP1Settings

from app import engine
from app.answers import Answer
from app.engine import Directly, Reception
from app.front_door import FrontDoor
from app.hot import HotRoute
from tests.conftest import DictBucket, settings_for
from workers.pipeline import Pipeline

_granian: Any = _typed
ROOT = Path(__file__).parents[2]
PATIENCE = 10.0

# --- Granian's private names ----------------------------------------------------------------------


def test_the_version_is_the_one_that_was_looked_at() -> None:
    """Another Granian may have the same names for other things: read its source, then pin it."""
    installed = importlib.metadata.version("granian")
    assert f"granian=={installed}\n" in (ROOT / "requirements.txt").read_text()
    assert installed == "2.8.7"


def test_the_names_are_there() -> None:
    """What `app/engine.py` calls exists, and takes what it is given."""
    assert _granian.RSGIWorker.__text_signature__ == (
        "(worker_id, sock, ipc, threads=1, blocking_threads=512, py_threads=1,"
        ' py_threads_idle_timeout=30, backpressure=256, http_mode="1", http1_opts=None,'
        " http2_opts=None, websockets_enabled=False, static_files=None, ssl_enabled=False,"
        ' ssl_cert=None, ssl_key=None, ssl_key_password=None, ssl_protocol_min="1.3", ssl_ca=None,'
        " ssl_crl=..., ssl_client_verify=False, metrics=...)"
    )
    assert {"serve_async", "serve_async_uds"} <= set(dir(_granian.RSGIWorker))
    assert {"add_cb", "set"} <= set(dir(_granian.WorkerSignal))
    assert {"header_read_timeout", "max_buffer_size"} <= HTTP1Settings.__dataclass_fields__.keys()


def test_the_loop_puts_nothing_off() -> None:
    """The engine calls these two, and a callback runs before either returns."""
    seen: list[object] = []
    Directly().call_soon(seen.append, 1, context=None)
    Directly().call_soon_threadsafe(seen.append, 2, context=None)
    assert seen == [1, 2]


def test_a_scheduler_takes_a_function() -> None:
    """The engine calls `_schedule_fn` with a watcher for each request."""
    scheduler = _granian.CallbackScheduler(Directly(), print, None, None, None)
    scheduler._schedule_fn = print
    assert isinstance(scheduler._loop, Directly)


# --- What becomes of a request --------------------------------------------------------------------


class Coming:
    """A body's future, as the engine has it: it comes, is cancelled, or fails, when told so."""

    def __init__(self) -> None:
        self.callback: Callable[[Any], None] | None = None
        self.body: bytes | Exception = b""
        self.is_cancelled = False

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self.callback = callback

    def come(self, body: bytes | Exception) -> None:
        self.body = body
        assert self.callback is not None
        self.callback(self)

    def cancel(self) -> None:
        self.is_cancelled = True
        assert self.callback is not None
        self.callback(self)

    def cancelled(self) -> bool:
        return self.is_cancelled

    def result(self) -> bytes:
        if isinstance(self.body, Exception):
            raise self.body
        return self.body


class Request:
    """A request as the engine shows it: watcher, scope and protocol in one."""

    def __init__(self, method: str = "POST", path: str = "/payloads", **headers: str) -> None:
        self.method, self.path = method, path
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.coming = Coming()
        self.answers: list[Answer] = []

    @property
    def proto(self) -> "Request":
        return self

    @property
    def scope(self) -> "Request":
        return self

    def __call__(self) -> Coming:
        return self.coming

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.answers.append(Answer(status, headers, body))


class Pool(ThreadPoolExecutor):
    """A pool that takes note of what is submitted, and does nothing."""

    def __init__(self) -> None:
        super().__init__(1)
        self.submitted: list[Any] = []

    def submit(self, /, *arguments: Any, **_: Any) -> Any:
        self.submitted.append(arguments[2])


@pytest.fixture
def pool() -> Pool:
    """Make a pool without threads."""
    return Pool()


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """Make a pipeline whose threads do not run."""
    return Pipeline(settings_for(tmp_path, DURABILITY="memory"), bucket=DictBucket())


@pytest.fixture
def reception(pool: Pool, pipeline: Pipeline) -> Reception:
    """Make a reception before a real front door."""
    door = FrontDoor(pipeline.settings, pipeline=lambda: pipeline)
    return Reception(HotRoute(door, largest=1000), pool=pool, wsgi=None, patience=PATIENCE)


def json_post(length: int = 4, **headers: str) -> Request:
    """Make a request for the hot route."""
    return Request(content_length=str(length), content_type="application/json", **headers)


def test_a_body_that_comes_is_answered(reception: Reception, pool: Pool) -> None:
    """Once it is here, and with the client's own id."""
    request = json_post(x_request_id="mine")
    reception.request(request)
    assert request.answers == []
    request.coming.come(b"[{}]")
    [answer] = request.answers
    assert answer.status == 202
    assert ("X-Request-ID", "mine") in answer.headers
    assert pool.submitted == []


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", "/payloads"),
        Request("GET", "/stats"),
        Request(path="/payloads/NO", content_length="4"),
        Request(path="/payloadsx", content_length="4"),
        Request(content_length="1001"),
        Request(content_length="-1"),
        Request(),
        Request(content_length="4", content_encoding="gzip"),
        Request(content_length="4", transfer_encoding="chunked"),
    ],
)
def test_all_else_is_flasks(reception: Reception, pool: Pool, request_: Request) -> None:
    """Another method, path or size, chunks and content codings go into the pool."""
    reception.request(request_)
    assert pool.submitted == [request_]
    assert request_.coming.callback is None


def test_what_would_be_too_much_at_once_is_flasks(
    reception: Reception, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bodies on their way are bounded all together; one that has come makes room again."""
    monkeypatch.setattr(engine, "HOT_BYTES", 1500)
    first, second, third = json_post(1000), json_post(1000), json_post(1000)
    reception.request(first)
    reception.request(second)
    assert pool.submitted == [second]
    first.coming.come(b"[{}]")
    reception.request(third)
    assert pool.submitted == [second]


def test_a_body_that_does_not_come_is_given_up(reception: Reception) -> None:
    """Its time over, the client is told; one with time left is waited for."""
    late, other = json_post(), json_post()
    reception.request(late)
    [body] = reception._coming
    reception.request(other)
    reception.expire(body.deadline)
    assert [answer.status for answer in late.answers] == [408]
    assert other.answers == []
    reception.expire(body.deadline)
    other.coming.come(b"[{}]")
    assert [answer.status for answer in other.answers] == [202]
    assert reception._bytes == 0


def test_half_a_body_is_a_408(reception: Reception, pipeline: Pipeline) -> None:
    """Where the client leaves in the middle nothing is kept."""
    request = json_post()
    reception.request(request)
    request.coming.come(RuntimeError("transport"))
    assert [answer.status for answer in request.answers] == [408]
    assert pipeline.home.unfinished() == []


def test_a_fault_of_ours_is_a_500(
    reception: Reception, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong, the engine gets no exception, and the client an answer."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(pool, "submit", fail)
    monkeypatch.setattr(reception.hot, "begin", fail)
    for request in (Request("GET", "/stats"), json_post()):
        reception.request(request)
        if not request.answers:
            request.coming.come(b"[{}]")
        assert [answer.status for answer in request.answers] == [500]
