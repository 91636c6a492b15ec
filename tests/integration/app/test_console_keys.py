"""The console where there is an access file: who may see it, and what it shows of keys."""

import base64
import re
from pathlib import Path

import pytest

from app.access.credentials import digest
from tests.integration.app.application import Service, Start

PAGE = (Path(__file__).resolve().parents[3] / "docs/console.md").read_text()
PATHS = ("/console", "/console/console.js", "/console/data", "/console/lines")
FILE = "".join(
    f'[keys.{scope}]\nsha256 = ["{digest(scope).hex()}"]\nscope = "{scope}"\n'
    for scope in ("write", "read", "admin")
)


@pytest.fixture
def service(start: Start, tmp_path: Path) -> Service:
    """Run a service with a key of each scope."""
    path = tmp_path / "access.toml"
    path.write_text(FILE)
    return start(ACCESS_FILE=path)


def basic(key: str) -> dict[str, str]:
    """Return the header of a browser in which a key was typed as the password."""
    return {"Authorization": "Basic " + base64.b64encode(f"me:{key}".encode()).decode()}


@pytest.mark.parametrize("path", PATHS)
def test_a_browser_is_asked_for_a_key(service: Service, path: str) -> None:
    """Without a key, and with an unknown one, by HTTP Basic; other routes go on as they are."""
    for headers in ({}, basic("unknown"), basic("")):
        answer = service.client.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith('Basic realm="')
        assert answer.headers["Content-Security-Policy"]
    assert service.client.get("/stats").headers["WWW-Authenticate"] == "Bearer"


def test_only_admins_see_it(service: Service) -> None:
    """A key that writes or reads is refused, for the page and for the action; a name is not."""
    named = {"Host": "ingest.example"}
    for path in PATHS[:3]:
        assert service.client.get(path, headers={**basic("admin"), **named}).status_code == 200
        for scope in ("write", "read"):
            assert service.client.get(path, headers=basic(scope)).status_code == 403
    action = {"X-Requested-With": "console", "Origin": "http://ingest.example", **named}
    path = "/console/dead-letters/20260101T000000000000Z-0000000000000000/replay"
    assert service.client.post(path, headers={**basic("write"), **action}).status_code == 403
    assert service.client.post(path, headers={**basic("admin"), **action}).status_code == 404


def test_a_page_of_another_origin_gets_nothing(service: Service) -> None:
    """A browser would send the key along: no preflight allows it, and no answer may be read."""
    origin = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for headers in (origin, {**origin, **basic("admin")}):
        answer = service.client.options("/console/data", headers=headers)
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
    answer = service.client.get("/console/data", headers={**basic("admin"), **origin})
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


def test_keys_are_shown_with_what_was_refused(service: Service) -> None:
    """By name, never the key; those that were not used too. docs/ names every member."""
    service.post([{}], Authorization="Bearer write")
    service.post([{}], Authorization="Bearer read")
    found = service.client.get("/console/data", headers=basic("admin")).get_json()
    by_name = {key["name"]: key for key in found["keys"]}
    assert by_name["write"]["requests"] == 1
    assert by_name["write"]["bytes"] == 4
    assert by_name["read"]["refused"] == {"403": 1}
    assert found["access_file_wrong"] is False
    table = PAGE.partition("## GET /console/data")[2]
    documented = set(
        re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    )
    assert documented == set(found)
