"""Refusals by the engine's threads, and faults of ours, have what a browser needs to read them."""

import hashlib
from pathlib import Path
from typing import NoReturn

import pytest

from app.access.gate import Gate
from app.access.usage_files import UsageFiles
from app.access.watched_file import AccessFile
from app.http.problems import Unavailable
from tests.unit.servers.conftest import MAX_BODY, Served
from tests.unit.servers.engine import Request
from workers.settings.settings import read_secret

ORIGIN, KEY = "https://shop.example", "page-key"
FILE = f"""
[keys.page]
sha256 = ["{hashlib.sha256(KEY.encode()).hexdigest()}"]

[cors]
origins = ["{ORIGIN}"]
"""
BODY = b"[{}]"
LARGE = BODY.ljust(MAX_BODY - 1)


@pytest.fixture
def guarded(tmp_path: Path) -> Served:
    """Make a router with an access file."""
    path = tmp_path / "access.toml"
    path.write_text(FILE)
    file = AccessFile(path, secret=read_secret)
    return Served(tmp_path, gate=Gate(file, usage=lambda: UsageFiles(tmp_path / "usage")))


def post(served: Served, body: bytes) -> Request:
    """Have a page's POST arrive, in two parts, as far as the service wants it."""
    request = Request(
        content_length=str(len(body)),
        content_type="application/json",
        origin=ORIGIN,
        x_api_key=KEY,
    )
    served.router.request(request)
    for part in (body[:2], body[2:]):
        if not request.answers and request.coming.callback is not None:
            request.coming.arrive(part)
    return request


def assert_readable(request: Request, status: int) -> None:
    """See that there is one response, which a page may read."""
    [answer] = request.answers
    assert answer.status == status
    assert answer.headers.count(("Access-Control-Allow-Origin", ORIGIN)) == 1
    assert "X-Request-ID" in dict(answer.headers)


def fail(*_: object, **__: object) -> NoReturn:
    """Fail as code with a fault does."""
    raise ZeroDivisionError


def test_a_refused_task(guarded: Served) -> None:
    """Threads that are all busy are a 503 that a page may read."""
    request = post(guarded, LARGE)
    guarded.tasks.large.refuse(Unavailable("All threads are busy.", retry_after=1))
    assert_readable(request, 503)


@pytest.mark.parametrize(
    "place",
    [
        "app.access.gate.Gate.admit_key",
        "app.servers.granian.bodies.KeptBody.begin",
        "app.servers.granian.bodies.KeptBody._take",
        "app.ingest.posts.Posts.begin",
        "app.ingest.handler.IngestHandler.take_arrival",
        "app.ingest.handler.IngestHandler.answer",
    ],
)
def test_a_fault_of_ours(guarded: Served, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Wherever it is on a POST's way, the 500 is one that a page may read."""
    monkeypatch.setattr(place, fail)
    assert_readable(post(guarded, BODY), 500)


def test_an_empty_body_that_fails(guarded: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that is not waited for makes no difference."""
    monkeypatch.setattr("app.ingest.posts.Posts.begin", fail)
    assert_readable(post(guarded, b""), 500)


def test_a_pool_that_takes_nothing(guarded: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that have ended make no difference either."""
    monkeypatch.setattr(guarded.tasks.large, "submit", fail)
    request = post(guarded, LARGE)
    assert_readable(request, 500)
    assert guarded.memory.used == 0
