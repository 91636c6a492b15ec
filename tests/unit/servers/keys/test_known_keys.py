"""Keys that are known already: a request is counted and limited as the first one was."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.access.credentials import digest
from app.access.gate import Gate
from app.access.key_usage import Use
from app.access.usage_files import UsageFiles
from app.access.watched_file import AccessFile
from tests.unit.servers.conftest import Served
from tests.unit.servers.engine import HeaderMap, Request

KEY = "bb_" + "k" * 43
CORS = '[cors]\norigins = ["https://a.example"]\nstreams = ["web"]\n'
Guarded = Callable[[str], Served]


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    """Make a router with an access file: one key with some more lines, and what follows."""

    def make(more: str = "", *, rest: str = CORS) -> Served:
        write(tmp_path / "access.toml", more, rest=rest)
        file = AccessFile(tmp_path / "access.toml", secret=str, look_seconds=0)
        return Served(tmp_path / "spool", gate=Gate(file, usage=lambda: UsageFiles(tmp_path / "u")))

    return make


def write(path: Path, more: str = "", *, key: str = KEY, rest: str = "") -> None:
    """Write an access file."""
    path.write_text(f'[keys.k]\nsha256 = ["{digest(key).hex()}"]\n{more}\n{rest}')


def send(served: Served, path: str = "/payloads", **headers: str) -> Request:
    """Send a request with the key, and its body."""
    given = {"content_type": "application/json", "authorization": f"Bearer {KEY}", **headers}
    request = Request("POST", path, content_length="4", **given)
    served.router.request(request)
    if not request.answers:
        request.coming.arrive(b"[{}]")
    return request


def known(served: Served) -> int:
    """Return how many keys are known by the path that they came to."""
    assert served.router._known is not None
    return len(served.router._known._known[1])


def used(served: Served) -> dict[str, int]:
    """Return what was counted of the key."""
    assert served.router._entrance.gate is not None
    [cells] = served.router._entrance.gate.usage.totals().values()
    return {use.name: cells[use] for use in Use if cells[use]}


@pytest.mark.parametrize("more", ["", "requests_per_second = 1000", "expires = 2999-01-01"])
def test_each_request_is_counted(guarded: Guarded, more: str) -> None:
    """The first and those that follow have the same answer, and count the same."""
    served = guarded(more)
    requests = [send(served) for _ in range(3)]
    assert known(served) == 1
    assert [request.statuses for request in requests] == [[202]] * 3
    assert len({tuple(name for name, _ in each.answers[0].headers) for each in requests}) == 1
    assert used(served) == {"REQUESTS": 3, "BYTES": 12}


def test_a_known_key_has_its_limit(guarded: Guarded) -> None:
    """Beyond the limit it is a 429 before the body is read, counted as a refusal and no more."""
    served = guarded("requests_per_second = 1")
    assert served.router._entrance.gate is not None
    _, limiter = served.router._entrance.gate._here()
    limiter._clock = lambda: 100.0
    assert [send(served).statuses for _ in range(3)] == [[202], [429], [429]]
    assert known(served) == 1
    assert used(served) == {"REQUESTS": 1, "BYTES": 4, "REFUSED_429": 2}


def test_a_refused_body_is_counted(guarded: Guarded) -> None:
    """What of a body has come counts, and its refusal too."""
    served = guarded("")
    send(served)
    request = Request(
        "POST", content_length="4", content_type="application/json", authorization=f"Bearer {KEY}"
    )
    served.router.request(request)
    request.coming.arrive(b"[{")
    request.coming.arrive(b"")
    assert request.statuses == [408]
    assert send(served, content_type="text/css").statuses == [415]
    assert used(served) == {"REQUESTS": 3, "BYTES": 10, "REFUSED_408": 1, "REFUSED_415": 1}


def test_a_key_that_is_taken_back_is_not_known(guarded: Guarded, tmp_path: Path) -> None:
    """A change of the file holds for the next request."""
    served = guarded("")
    send(served)
    assert known(served) == 1
    write(tmp_path / "access.toml", key="another")
    assert send(served).statuses == [401]
    write(tmp_path / "access.toml", 'streams = ["else"]')
    assert [send(served).statuses for _ in range(2)] == [[403]] * 2
    write(tmp_path / "access.toml")
    assert [send(served).statuses for _ in range(2)] == [[202]] * 2


def test_a_known_key_expires(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last day is looked at with each request."""
    today = datetime.now(UTC).date()
    served = guarded(f"expires = {today}")
    assert send(served).statuses == [202]
    later = (datetime.now(UTC) + timedelta(days=1)).timestamp()
    monkeypatch.setattr("app.access.credentials.time.time", lambda: later)
    assert send(served).statuses == [403]
    assert used(served) == {"REQUESTS": 1, "BYTES": 4, "REFUSED_403": 1}


@pytest.mark.parametrize(
    ("more", "path", "headers"),
    [
        ("", "/payloads/web", {}),
        ("", "/events", {}),
        ("", "/payloads", {"authorization": "Bearer nothing"}),
        ("bytes_per_second = 1000000", "/payloads", {}),
    ],
)
def test_what_needs_a_closer_look_gets_it(
    guarded: Guarded, more: str, path: str, headers: dict[str, str]
) -> None:
    """Pages, events, unknown keys and limits of bytes take the longer way each time."""
    served = guarded(more)
    assert [request.statuses for request in (send(served, path, **headers),) * 2]
    assert known(served) == 0


def test_a_page_is_not_let_in_by_a_known_key(guarded: Guarded) -> None:
    """What a page may send without asking is looked into although its key is known."""
    served = guarded("")
    send(served)
    page = {"origin": "https://evil.example", "content_type": "text/plain"}
    assert send(served, **page).statuses == [403]


def test_two_keys_are_none(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """A known key in the first of two headers is as little a key as in a first request."""
    served = guarded("")
    send(served)

    def get_all(_: HeaderMap, name: str) -> list[str]:
        return [f"Bearer {KEY}", "Bearer other"] if name == "authorization" else []

    monkeypatch.setattr(HeaderMap, "get_all", get_all)
    assert send(served).statuses == [401]
