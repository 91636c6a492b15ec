"""The router: which way a request goes, and that each gets one finished answer."""

import gzip
import json
import time
from concurrent.futures import Executor
from typing import Any

import pytest

from app.http.problems import Unavailable
from app.servers.granian.tasks import TaskQueue
from tests.unit.servers.conftest import MAX_BODY, Served
from tests.unit.servers.engine import Request
from workers.spool.counters import Field

BODY = b"[{}]"


def json_post(body: bytes = BODY, **headers: str) -> Request:
    """Make a POST of payloads with a length."""
    return Request(content_length=str(len(body)), content_type="application/json", **headers)


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_a_small_body_is_answered_at_once(served: Served, coding: str) -> None:
    """Plain or encoded, it takes no thread; the response has the client's id and is counted."""
    body = gzip.compress(BODY) if coding else BODY
    headers = {"content_encoding": coding} if coding else {}
    request = json_post(body, x_request_id="mine", **headers)
    served.router.request(request)
    assert request.answers == []
    request.coming.arrive(body)
    [answer] = request.answers
    assert answer.status == 202
    assert ("X-Request-ID", "mine") in answer.headers
    assert served.counted == [Field.REQUESTS_202]
    assert served.waiting == {}
    assert request.asked == 1, "the end of a body that is whole is not asked for"


def large(bare: bytes) -> bytes:
    """Return a body of more than 256 KiB."""
    return bare.ljust(MAX_BODY - 1)


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (large(BODY), ""),
        (gzip.compress(large(BODY)), "gzip"),
        (gzip.compress(BODY) + b"x" * 70_000, "gzip"),
    ],
    ids=["large", "large when decoded", "large and encoded"],
)
def test_a_large_body_gets_a_thread(served: Served, body: bytes, coding: str) -> None:
    """Only once it is whole, and its memory is given back when it has been read."""
    headers = {"content_encoding": coding} if coding else {}
    request = json_post(body, **headers)
    served.router.request(request)
    request.coming.arrive(body[:-1])
    assert served.waiting == {}
    request.coming.arrive(body[-1:])
    assert served.waiting == {"large": 1}
    assert served.memory.used == len(body)
    served.tasks.large.work()
    assert request.statuses == [202 if b"xxx" not in body else 400]
    assert served.memory.used == 0


def test_a_schema_is_applied_in_a_thread(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a small body of many payloads may take a second to validate."""
    monkeypatch.setattr(served.handler, "validates", True)
    request = json_post()
    served.router.request(request)
    request.coming.arrive(BODY)
    assert served.waiting == {"small": 1}
    served.tasks.small.work()
    assert request.statuses == [202]


@pytest.mark.parametrize(
    ("request_", "tasks"),
    [
        (Request("GET", "/stats"), "others"),
        (Request("GET", "/receipts/x"), "receipts"),
        (Request("OPTIONS", "/healthz"), "others"),
        (Request("POST", "/healthz"), "others"),
        (Request("PUT", "/payloads"), "others"),
        (Request("POST", "/payloads/NO"), "others"),
        (Request("POST", "/payloadsx"), "others"),
        (Request("POST", "/payloads/"), "others"),
    ],
)
def test_other_routes_are_flask_s(served: Served, request_: Request, tasks: str) -> None:
    """Another method or path gets a thread, and what Flask answers is sent, without a server."""
    served.router.request(request_)
    assert served.waiting == {tasks: 1}
    getattr(served.tasks, tasks).work()
    [answer] = request_.answers
    assert answer.status == 418
    assert answer.headers == [("X-Path", request_.path), ("Server", "")]


@pytest.mark.parametrize("length", ["5", str(2 * MAX_BODY), str(1 << 40)])
def test_flask_sees_no_body(served: Served, length: str) -> None:
    """What no route has a use for is thrown away before a thread is taken, or never read."""
    request = Request("POST", "/nowhere", content_length=length)
    served.router.request(request)
    for _ in range(8):
        if not served.waiting and request.asked:
            request.coming.arrive(b"x" * min(int(length), MAX_BODY))
    assert served.waiting == {"others": 1}
    served.tasks.others.work()
    assert [answer.body for answer in request.answers] == [b""]
    assert served.memory.used == 0


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_wait_for_nothing(served: Served, method: str, path: str) -> None:
    """They are answered before `request` returns."""
    request = Request(method, path, x_request_id="mine")
    served.router.request(request)
    [answer] = request.answers
    assert answer.status == 200
    assert ("X-Request-ID", "mine") in answer.headers
    assert bool(answer.body) == (method == "GET")


def test_a_probe_says_why_not(served: Served) -> None:
    """Not ready is a problem with Retry-After."""
    served.pipeline.stop()
    request = Request("GET", "/readyz")
    served.router.request(request)
    [answer] = request.answers
    assert answer.status == 503
    assert "stopping" in json.loads(answer.body)["detail"]
    assert "Retry-After" in dict(answer.headers)
    assert served.counted == [Field.REQUESTS_503]


@pytest.mark.parametrize("path", ["/stats", "/receipts/x", "/payloads"])
def test_a_refused_task_s_response_is_finished(served: Served, path: str) -> None:
    """It has the client's id, is counted, and gives its memory back."""
    body = large(BODY) if path == "/payloads" else b""
    method = "POST" if body else "GET"
    length = {"content_length": str(len(body))} if body else {}
    request = Request(method, path, x_request_id="mine", **length)
    served.router.request(request)
    if body:
        request.coming.arrive(body[:9])
        request.coming.arrive(body[9:])
    [name] = served.waiting
    getattr(served.tasks, name).refuse(Unavailable("All threads are busy.", retry_after=1))
    [answer] = request.answers
    assert answer.status == 503
    assert {("X-Request-ID", "mine"), ("Retry-After", "1")} <= set(answer.headers)
    assert served.counted == [Field.REQUESTS_503]
    assert served.memory.used == 0


@pytest.mark.parametrize("path", ["/stats", "/payloads"])
def test_a_fault_of_ours_is_a_500(
    served: Served, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The engine gets no exception, and the client one finished answer."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(served.tasks.others, "submit", fail)
    monkeypatch.setattr(served.router._posts, "begin", fail)
    request = json_post() if path == "/payloads" else Request("GET", path)
    served.router.request(request)
    if not request.answers:
        request.coming.arrive(BODY)
    [answer] = request.answers
    assert answer.status == 500
    assert "X-Request-ID" in dict(answer.headers)
    assert served.counted == [Field.REQUESTS_500]


class InlinePool(Executor):
    """A pool that takes note of its task."""

    def __init__(self) -> None:
        self.task: Any = None

    def submit(self, task: Any, /, *arguments: Any, **_: Any) -> Any:
        self.task = lambda: task(*arguments)


def test_a_task_that_waited_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client has given up by then; so is one that comes after the end."""
    pool, said = InlinePool(), []
    queue = TaskQueue(pool, name="receipt", seconds=5)
    queue.submit(lambda: said.append("run"), refuse=lambda problem: said.append(problem.detail))
    pool.task()
    later = time.monotonic() + 6
    monkeypatch.setattr(time, "monotonic", lambda: later)
    pool.task()
    queue.close()
    pool.task()
    assert said == ["run", "All receipt threads are busy.", "This process is stopping."]
