"""Requests of a hostile client: none goes on without a key, costs much, or shows one."""

import gzip
import json

import pytest

from tests.acceptance.access.client import ADMIN, METERED, PAGE, WRITER, Client
from tests.acceptance.wire import Wire, chunked, head, post

JSON = {"Content-Type": "application/json"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
PATHS = (
    "/payloads", "/payloads/", "//payloads", "/./payloads", "/%70ayloads", "/payloads%2Fx",
    "/payloads/web-1/..", "/payloads/..", "/payloads.", "/payloads;x", "/payloads/web-1%00",
    "/payloads?token=x", "/events/%65", "/events//x", "/webhooks", "/webhooks/", "/webhooks/a/b",
    "/webhooks/nothing", "/v1/batch/", "/v1/%62atch", "/v1//batch", "/receipts", "/receipts/",
    "/receipts/x/y", "/receipts/../stats", "/receipts/..%2fstats", "/stats", "/stats/", "/metrics",
    "/%73tats", "/healthz/", "/healthz/../stats", "/healthz%2f..%2fstats", "/HEALTHZ", "/readyz%20",
    "/stats?key=admin-key", "/metrics?key=admin-key", "/receipts/x?key=reader-key", "/", "/*",
    "http://brigade/stats", "/%ff", "/console", "/openapi.json",
)  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_no_path_goes_on_without_a_key(client: Client, method: str) -> None:
    """However a path is written, and whatever the method: only the probes answer without a key."""
    passed = {}
    for path in PATHS:
        with Wire(client.service.port) as wire:
            wire.send(head(method, path, {**JSON, "Content-Length": "2"}) + b"{}")
            status = wire.answer(to_head=method == "HEAD").status
        # The server itself refuses what is no HTTP.
        if status not in (400, 401, 403, 501):
            passed[path] = status
    assert passed == {}


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Bearer x"), ("Authorization", f"Bearer {WRITER}")],
        [("Authorization", f"Bearer {WRITER}"), ("Authorization", f"Bearer {WRITER}")],
        [("X-API-Key", WRITER), ("X-API-Key", "x")],
        [("Authorization", "Bearer"), ("X-API-Key", WRITER)],
        [("Authorization", f"Bearer {WRITER} x")],
        [("Authorization", "Basic " + "A" * 30_000)],
        [("Authorization", "Basic :::")],
        [("Authorization", "Digest " + WRITER)],
        [("X_API_Key", WRITER)],
        [("Cookie", f"key={WRITER}")],
    ],
)
def test_odd_credentials_are_no_key(client: Client, headers: list[tuple[str, str]]) -> None:
    """Two of a kind, broken and oversized ones are a 401 on each server."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    with Wire(client.service.port) as wire:
        wire.send(
            b"POST /payloads HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 4\r\n" + lines.encode() + b"\r\n[{}]"
        )
        assert wire.answer().status in (401, 431)


def test_a_megabyte_of_signature_is_refused(client: Client) -> None:
    """A header as large as a body, or many of them, are refused and stop nothing."""
    for value in ("sha256=" + "a" * 1_000_000, "sha256=" + "a" * 20_000):
        with Wire(client.service.port) as wire:
            signed = {"X-Hub-Signature-256": value}
            assert outcome(wire, post(b"{}", "/webhooks/github", signed)) in (400, 401, 431, None)
    assert client.post("/payloads", [{}], WRITER).status == 202


@pytest.mark.parametrize("key", [None, WRITER])
def test_http_1_0(client: Client, key: str | None) -> None:
    """An old client is asked for its key as any other."""
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    with Wire(client.service.port) as wire:
        wire.send(
            b"POST /payloads HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 4\r\n"
            + authorization.encode()
            + b"\r\n[{}]"
        )
        assert wire.answer().status == (202 if key else 401)


def test_a_key_in_the_body_is_for_plain_bodies(client: Client) -> None:
    """Compressed, chunked and large bodies are refused before anything of them is decoded."""
    body = json.dumps({"token": WRITER, "payloads": [{}]}).encode()
    bomb = gzip.compress(body + b" " * 10_000_000)
    for encoding in ("gzip", "identity", "br"):
        answer = client.post("/payloads", bomb, Content_Encoding=encoding)
        assert answer.status == 401
    with Wire(client.service.port) as wire:
        wire.send(
            head("POST", "/payloads", {**JSON, "Transfer-Encoding": "chunked"}) + chunked([body])
        )
        assert wire.answer().status == 401
    # A query that only looks as if it had a key does not hide the one in the body.
    assert client.post("/payloads?monkey=1", body).status == 202


def test_a_status_without_a_body_has_none(client: Client) -> None:
    """A 204 ends at its head: the next response on the connection is read as such."""
    with Wire(client.service.port) as wire:
        for _ in range(2):
            wire.send(post(b"{}", "/quiet", {"Authorization": f"Bearer {ADMIN}"}))
            assert wire.answer().status == 204


def test_null_and_odd_origins_are_not_echoed(client: Client) -> None:
    """Only an origin that is listed comes back, and only once."""
    for origin in (
        "null",
        "https://shop.example, https://evil.example",
        "*",
        "",
        "https://shop.ex",
    ):
        answer = client.post("/payloads/web-1", [{}], WRITER, Origin=origin)
        assert answer.status == 202
        assert answer.headers.get_all("Access-Control-Allow-Origin") is None


def test_bytes_of_refused_bodies_are_counted(client: Client) -> None:
    """What a key sends counts, whether it is taken or not."""
    before = figure(client, 'bucket_brigade_key_bytes_total{key="metered"}')
    assert client.post("/payloads", b"x" * 100_000, METERED).status == 400
    assert client.post("/payloads", b"x" * 70_000, METERED, Content_Encoding="gzip").status == 400
    with Wire(client.service.port) as wire:
        given = {**JSON, "Authorization": f"Bearer {METERED}", "Content-Length": "900"}
        wire.send(head("POST", "/payloads", given) + b"x" * 500)
        wire.shut()
        assert wire.answer().status in (400, 408)
    counted = figure(client, 'bucket_brigade_key_bytes_total{key="metered"}') - before
    assert counted == 170_500


def outcome(wire: Wire, request: bytes) -> int | None:
    """Send what a server may not read to its end; None where it closes without a response."""
    try:
        wire.send(request)
    except ConnectionError:
        return None
    try:
        return wire.answer().status
    except (ConnectionError, EOFError):
        return None


def figure(client: Client, name: str) -> float:
    """Return a figure of `/metrics`, 0 where it is not there."""
    text = client.request("GET", "/metrics", Authorization=f"Bearer {ADMIN}").body.decode()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[:1] != "#")
    return float(lines.get(name, 0))


def test_no_query_reaches_the_log(client: Client) -> None:
    """A key in a URL is in no line of the log, however the request ends."""
    for path in ("/payloads", "/events/web-1", "/nothing", "/stats", "/healthz", "/v1/batch"):
        client.post(f"{path}?key={PAGE}&hunter2", b"{", None)
    with Wire(client.service.port) as wire:
        outcome(wire, f"POST /payloads?key={PAGE}&hunter2 HTTP/9.9\r\n\r\n".encode())
    log = client.service.log_path.read_text()
    assert PAGE not in log
    assert "hunter2" not in log
