"""With an access file: what each key may do, and that nothing goes on without one."""

import base64
import gzip
import json

import pytest

from tests.acceptance.access.client import ADMIN, LIMITED, METERED, PAGE, READER, WRITER, Client

EVENT = [{"n": 1}]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/payloads"), ("POST", "/events/web-1"), ("POST", "/v1/batch"), ("GET", "/stats"),
     ("GET", "/metrics"), ("GET", "/receipts/x"), ("GET", "/nothing"), ("PUT", "/payloads"),
     ("POST", "/webhooks/plain"), ("POST", "/payloads/UPPER")],
)  # fmt: skip
def test_nothing_goes_on_without_a_key(client: Client, method: str, path: str) -> None:
    """Every route but the probes is a 401 that names the scheme."""
    answer = client.request(method, path, b"[{}]" if method != "GET" else None)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["status"] == 401
    assert answer.headers["X-Request-ID"]


def test_probes_need_no_key(client: Client) -> None:
    """An orchestrator has none."""
    assert client.request("GET", "/healthz").status == 200
    assert client.request("GET", "/readyz").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {WRITER}"},
        {"Authorization": "Basic " + base64.b64encode(f"{WRITER}:".encode()).decode()},
        {"X_API_Key": WRITER},
    ],
)
def test_a_known_key_is_accepted(client: Client, headers: dict[str, str]) -> None:
    """Every way to send a key ends in a 202 with a receipt, which the key may look up."""
    answer = client.post("/payloads", EVENT, **headers)
    assert answer.status == 202
    receipt = answer.headers["Location"]
    assert client.request("GET", receipt, None, **headers).status == 200
    assert client.request("GET", "/stats", None, **headers).status == 403


def test_bodies_of_every_kind_need_the_key(client: Client) -> None:
    """Large, compressed and chunked bodies are refused and accepted as small ones are."""
    large = json.dumps([{"pad": "x" * 400_000}]).encode()
    for body, encoding in ((large, ""), (gzip.compress(large), "gzip")):
        headers = {"Content_Encoding": encoding} if encoding else {}
        assert client.post("/payloads", body, **headers).status == 401
        assert client.post("/payloads", body, "other", **headers).status == 401
        assert client.post("/payloads", body, WRITER, **headers).status == 202


def test_a_key_is_for_its_streams_and_scope(client: Client) -> None:
    """Another stream is a 403, and so is writing with a key that only reads."""
    assert client.post("/payloads/web-1", EVENT, WRITER).status == 202
    assert client.post("/payloads/other", EVENT, WRITER).status == 403
    assert client.post("/payloads", EVENT, READER).status == 403
    assert client.request("GET", "/stats", Authorization=f"Bearer {ADMIN}").status == 200


def test_a_key_in_the_url_is_for_pages(client: Client) -> None:
    """Only a key with `url` may come so."""
    assert client.post(f"/events/web-1?key={PAGE}", {"n": 1}).status == 202
    assert client.post(f"/events/web-1?key={WRITER}", {"n": 1}).status == 401


def test_the_envelope_s_token_is_a_key(client: Client) -> None:
    """The original's way: for small bodies as they are, where no other key came."""
    body = {"token": WRITER, "payloads": [{"n": 1}]}
    assert client.post("/payloads/web-2", body).status == 202
    assert client.post("/payloads/other", body).status == 403
    assert client.post("/payloads", {**body, "token": "other"}).status == 401
    assert client.post("/payloads", {"payloads": [{}]}).status == 401
    assert client.post("/payloads", {**body, "pad": 1}).status == 422
    compressed = gzip.compress(json.dumps(body).encode())
    refused = client.post("/payloads", compressed, Content_Encoding="gzip")
    assert refused.status == 401
    assert "without Content-Encoding" in refused.json()["detail"]
    large = {"token": WRITER, "payloads": [{"pad": "x" * 300_000}]}
    assert client.post("/payloads", large).status == 401


def test_a_limit_is_a_429(client: Client) -> None:
    """A key over its limit is told when to come again; another key goes on."""
    answers = [client.post("/payloads", EVENT, LIMITED) for _ in range(10)]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    assert {answer.status for answer in answers} <= {202, 429}
    assert int(refused[0].headers["Retry-After"]) >= 1
    assert client.post("/payloads", EVENT, WRITER).status == 202


def test_metrics_by_key(client: Client) -> None:
    """An operator sees who sends how much, and what was refused, by the key's name."""
    client.post("/payloads", EVENT, WRITER)
    client.post("/payloads/other", EVENT, WRITER)
    client.post("/payloads", EVENT)
    figures = client.request("GET", "/metrics", Authorization=f"Bearer {ADMIN}").body.decode()
    lines = dict(line.rsplit(" ", 1) for line in figures.splitlines() if line[:1] != "#")
    assert float(lines['bucket_brigade_key_requests_total{key="writer"}']) > 0
    assert float(lines['bucket_brigade_key_bytes_total{key="writer"}']) > 0
    assert float(lines['bucket_brigade_key_refusals_total{key="writer",status="403"}']) > 0
    assert float(lines['bucket_brigade_requests_total{status="401"}']) > 0
    assert float(lines["bucket_brigade_access_file_wrong"]) == 0


def test_a_key_looks_up_receipts_of_its_streams_only(client: Client) -> None:
    """Another stream's is a 403 for a key of any scope; a key of all streams sees it."""
    other = client.post("/payloads/other", EVENT, METERED).headers["Location"]
    own = client.post("/payloads/web-1", EVENT, PAGE).headers["Location"]
    for key in (WRITER, PAGE):
        refused = client.request("GET", other, Authorization=f"Bearer {key}")
        assert refused.status == 403
        assert "stream" in refused.json()["detail"]
        assert client.request("GET", own, Authorization=f"Bearer {key}").status == 200
    assert client.request("GET", f"{other}?key={PAGE}").status == 403
    for key in (READER, ADMIN, METERED):
        assert client.request("GET", other, Authorization=f"Bearer {key}").status == 200
