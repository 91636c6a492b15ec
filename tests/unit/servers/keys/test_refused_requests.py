"""A request that is refused is gone with its response: its connection waits for no collector."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.access.credentials import digest
from app.access.gate import Gate
from app.access.usage_files import UsageFiles
from app.access.watched_file import AccessFile
from tests.unit.servers.conftest import MAX_BODY, Served
from tests.unit.servers.engine import Coming, Request

KEY = f'[keys.k]\nsha256 = ["{digest("k").hex()}"]\nrequests_per_second = 1\n'


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """Collect no garbage meanwhile."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def guarded(tmp_path: Path) -> Served:
    """Make a router with a key that may be used once."""
    (tmp_path / "access.toml").write_text(KEY)
    file = AccessFile(tmp_path / "access.toml", secret=str)
    gate = Gate(file, usage=lambda: UsageFiles(tmp_path / "u"))
    # Time stands still.
    gate._here()[1]._clock = lambda: 100.0
    return Served(tmp_path / "spool", gate=gate)


def send(served: Served, **headers: str) -> tuple[list[int], weakref.ref[Request]]:
    """Send a request whose body is not asked for; return its statuses, and what is left of it."""
    given = {"content_type": "application/json", "content_length": "4", **headers}
    request = Request(**given, expect="100-continue")
    served.router.request(request)
    if not request.answers:
        request.coming.arrive(b"[{}]")
        # Else the double itself would be a cycle.
        request.coming = Coming()
    return request.statuses, weakref.ref(request)


def test_a_refused_key_keeps_no_request(guarded: Served) -> None:
    """Neither one that is unknown, nor one that is known and at its limit."""
    assert send(guarded, authorization="Bearer k")[0] == [202]
    for key, status in (("x", 401), ("k", 429), ("k", 429)):
        statuses, left = send(guarded, authorization=f"Bearer {key}")
        assert statuses == [status]
        assert left() is None


def test_a_body_that_gave_way_keeps_no_request(served: Served) -> None:
    """The largest of all that arrive, which gets a 503."""
    length = str(MAX_BODY)
    first, second = (Request(content_type="application/json", content_length=length) for _ in "ab")
    for request in (first, second):
        served.router.request(request)
        request.coming.arrive(b" " * (MAX_BODY - 1))
    third = Request(content_type="application/json", content_length="9")
    served.router.request(third)
    third.coming.arrive(b"[{}     ")
    first.coming.arrive(b" ")
    assert first.statuses == [503]
    first.coming, left = Coming(), weakref.ref(first)
    del first, request
    assert left() is None
