"""The console's routes: what they show, what they refuse, and what a page may do with them."""

import re
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.routes.console import FILES
from tests.integration.app.application import Service, Start, problem
from tests.support import wait_until
from tests.support.s3 import FakeS3, Fault

HOSTILE = '<img src=x onerror="alert(1)">'
ACTION = {"X-Requested-With": "console"}


def seen(service: Service) -> dict[str, Any]:
    """Ask for what the console shows."""
    answer = service.client.get("/console/data")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.get_json()
    return found


def until(service: Service, **figures: object) -> dict[str, Any]:
    """Wait until the console shows figures, and return all of it."""
    wait_until(lambda: figures.items() <= seen(service).items(), timeout=20, what=f"{figures}")
    return seen(service)


def replay(service: Service, name: str, **headers: str) -> TestResponse:
    """Ask for the replay of a dead letter."""
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    return service.client.post(f"/console/dead-letters/{name}/replay", headers=given)


def dead_letter(service: Service, s3: FakeS3) -> str:
    """Make a dead letter, and return its name."""
    s3.faults(Fault(kind="error", status=400, code="EntityTooLarge"))
    service.post([{"text": HOSTILE}])
    until(service, dead=1)
    s3.clear()
    [letter] = seen(service)["dead_letters"]["newest"]
    return str(letter["name"])


def test_the_page_and_its_files_are_served(start: Start) -> None:
    """Each with its type, and with headers that let it have nothing from elsewhere."""
    service = start()
    page = service.client.get("/console")
    assert page.content_type == "text/html; charset=utf-8"
    for name in (path.name for path in FILES.iterdir()):
        answer = service.client.get(f"/console/{name}")
        assert answer.status_code == 200
        assert answer.data == (FILES / name).read_bytes()
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
    for name in ("nothing.js", "..", "%2e%2e", "console"):
        assert service.client.get(f"/console/{name}").status_code == 404


def test_the_page_has_nothing_inline_and_no_other_host() -> None:
    """What the policy forbids is not in the files: no markup from data, no address elsewhere."""
    for path in FILES.iterdir():
        text = path.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
        assert not re.search(r"https?://(?!www\.w3\.org/)", text), path
        if path.suffix == ".html":
            assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! type=\"module\" src=)", text)


def test_the_data_are_those_of_the_service(start: Start, s3: FakeS3) -> None:
    """Payloads, processes, streams, objects and what fails, as they are."""
    service = start(OBJECT_MAX_PAYLOADS=2)
    service.post([{}, {}], path="/payloads/orders")
    found = until(service, stored=2)
    wait_until(lambda: len(seen(service)["objects"]) == 1, timeout=20, what="the object")
    found = seen(service)
    [stored] = found["objects"]
    assert (stored["stream"], stored["payloads"]) == ("orders", 2)
    assert (found["accepted"], found["pending"], found["keys"]) == (2, 0, None)
    assert len(found["processes"][0]["workers"]) == 2
    assert found["verdict"]["text"] == "Everything is in S3."
    s3.stop_listening()
    service.post([{}, {}])
    wait_until(lambda: seen(service)["verdict"]["state"] == "late", timeout=20, what="the outage")
    found = seen(service)
    assert found["verdict"]["text"] == "2 payloads are not in S3: it cannot be reached."
    assert "Could not connect" in found["verdict"]["why"]
    assert found["verdict"]["since"] <= found["at"]
    s3.listen_again()
    until(service, stored=4)


def test_a_dead_letter_is_shown_and_replayed_once(start: Start, s3: FakeS3) -> None:
    """The replay goes up at once, not at the next look; a second one finds nothing."""
    service = start()
    name = dead_letter(service, s3)
    shown = service.client.get("/console/lines", query_string={"dead_letter": name}).get_json()
    assert shown == {"lines": ['{"text": "' + HOSTILE.replace('"', '\\"') + '"}'], "more": False}
    answer = replay(service, name, X_Requested_With="console")
    assert answer.get_json() == {"segment": name, "payloads": 1}
    found = until(service, stored=1, dead=0)
    assert found["dead_letters"] == {"count": 0, "newest": []}
    assert problem(replay(service, name, **ACTION))["status"] == 404


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Requested-With": "XMLHttpRequest"},
        {**ACTION, "Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {**ACTION, "Sec-Fetch-Site": "same-site"},
        {**ACTION, "Sec-Fetch-Site": "none"},
        {**ACTION, "Origin": "https://evil.example"},
        {**ACTION, "Origin": "null"},
        {**ACTION, "Host": "evil.example:8000", "Origin": "http://evil.example:8000"},
    ],
)
def test_another_page_cannot_act(start: Start, s3: FakeS3, headers: dict[str, str]) -> None:
    """Without the header, from another origin, or by a name that leads here: nothing happens."""
    service = start()
    name = dead_letter(service, s3)
    assert problem(replay(service, name, **headers))["status"] == 403
    assert seen(service)["dead_letters"]["count"] == 1


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200), ("[::1]:8000", 200), ("localhost", 200), ("ingest:8000", 200),
        ("10.1.2.3", 200), ("evil.example", 403), ("127.0.0.1.evil.example", 403),
    ],
)  # fmt: skip
def test_an_open_console_has_no_name_of_others(start: Start, host: str, status: int) -> None:
    """A domain that leads to this machine is another site's, and its pages read nothing here."""
    service = start()
    for path in ("/console", "/console/data", "/console/console.js"):
        assert service.client.get(path, headers={"Host": host}).status_code == status


def test_the_first_lines_of_an_object(start: Start) -> None:
    """Twenty of them, as they are; of nothing but objects of the service's own."""
    service = start(OBJECT_MAX_PAYLOADS=30)
    service.post([{"n": n, "text": HOSTILE} for n in range(30)])
    wait_until(lambda: seen(service)["objects"], timeout=20, what="the object")
    [stored] = seen(service)["objects"]
    where = {"bucket": stored["bucket"], "key": stored["key"]}
    shown = service.client.get("/console/lines", query_string=where).get_json()
    assert len(shown["lines"]) == 20
    assert shown["lines"][7].startswith('{"n": 7,')
    assert shown["more"] is True
    for wrong in ({"bucket": "other"}, {"key": "secret.txt"}, {"key": where["key"] + "x"}):
        answer = service.client.get("/console/lines", query_string={**where, **wrong})
        assert problem(answer)["status"] == 404
    for name in ("../retired", "20260101T000000000000Z-0000000000000000"):
        for kind in ("dead_letter", "damaged"):
            answer = service.client.get("/console/lines", query_string={kind: name})
            assert problem(answer)["status"] == 404


def test_s3_that_does_not_answer_is_said(start: Start, s3: FakeS3) -> None:
    """A look at an object while S3 is away is a 503 that says so."""
    service = start()
    service.post([{}])
    wait_until(lambda: seen(service)["objects"], timeout=20, what="the object")
    [stored] = seen(service)["objects"]
    s3.stop_listening()
    where = {"bucket": stored["bucket"], "key": stored["key"]}
    answer = service.client.get("/console/lines", query_string=where)
    assert answer.status_code == 503
    assert "S3 does not answer" in problem(answer)["detail"]
