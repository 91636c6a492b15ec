"""Events, webhooks, endpoints and browsers, with an access file: what comes out in the bucket."""

import hashlib
import hmac
import time

import pytest

from tests.acceptance.access.client import PAGE, WRITER, Client


def test_events_in_any_shape(client: Client) -> None:
    """An object, an array, values in a row; with a JSON-like type, as text, or without any."""
    assert client.post("/events/web-e", {"n": 1}, WRITER).status == 202
    assert client.post("/events/web-e", b'{"n":2}\n{"n":\n3}', WRITER).status == 202
    bare = client.request("POST", "/events/web-e", b'[{"n":4}]', Authorization=f"Bearer {WRITER}")
    assert bare.json()["accepted"] == 1
    vendor = client.post("/events/web-e", {"n": 5}, WRITER, Content_Type="application/x.y+json")
    assert vendor.status == 202
    for n in range(1, 6):
        assert client.stored("web-e", {"n": n})
    assert client.post("/events/web-e", b"a=1", WRITER, Content_Type="text/csv").status == 415


def test_a_cloudevent_in_binary_mode(client: Client) -> None:
    """Its headers and its body become one structured event."""
    answer = client.post(
        "/events/web-c", {"n": 1}, WRITER, ce_specversion="1.0", ce_id="7", ce_source="/s",
        ce_type="t",
    )  # fmt: skip
    assert answer.status == 202
    assert client.stored(
        "web-c",
        {
            "specversion": "1.0", "id": "7", "source": "/s", "type": "t",
            "datacontenttype": "application/json", "data": {"n": 1},
        },
    )  # fmt: skip


def github(body: bytes, secret: str = "It's a Secret") -> dict[str, str]:
    """Return the headers of a delivery of GitHub's."""
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "X_Hub_Signature_256": f"sha256={mac}", "X_GitHub_Event": "push", "X_GitHub_Delivery": "d1",
    }  # fmt: skip


def test_a_signed_webhook_needs_no_key(client: Client) -> None:
    """GitHub's delivery is stored whole, with its id and type; another signature is a 401."""
    body = b'{"ref": "main",\n "n": 1.50}'
    assert client.post("/webhooks/github", body, **github(body)).status == 202
    assert client.post("/webhooks/github", body + b" ", **github(body)).status == 401
    assert client.post("/webhooks/github", body, WRITER).status == 401
    assert client.post("/webhooks/other", body, WRITER).status in (401, 403, 404)

    def is_push(line: dict[str, object]) -> bool:
        line.pop("received_at")
        return line == {
            "stream": "github", "source": "github", "id": "d1",
            "headers": {"X-GitHub-Delivery": "d1", "X-GitHub-Event": "push"},
            "payload": {"ref": "main", "n": 1.5},
        }  # fmt: skip

    assert client.stored_as("github", is_push)


def test_slack_s_challenge_is_answered_and_not_stored(client: Client) -> None:
    """The challenge comes back only for a request that Slack signed."""
    body = b'{"type":"url_verification","challenge":"c-123"}'
    now = str(int(time.time()))
    mac = hmac.new(b"slack", b"v0:" + now.encode() + b":" + body, hashlib.sha256).hexdigest()
    headers = {"X_Slack_Request_Timestamp": now, "X_Slack_Signature": f"v0={mac}"}
    answer = client.post("/webhooks/slack", body, **headers)
    assert (answer.status, answer.body) == (200, b"c-123")
    assert client.post("/webhooks/slack", body).status == 401


def test_a_source_answers_as_its_sender_expects(client: Client) -> None:
    """Status and body are as configured; without a signature a key is needed."""
    answer = client.post("/webhooks/plain", {"n": 1}, WRITER)
    assert (answer.status, answer.json()) == (200, {"ok": True})
    assert client.post("/webhooks/plain", {"n": 1}).status == 401


@pytest.mark.parametrize(("token", "status"), [("meta-token", 200), ("other", 403)])
def test_meta_s_question(client: Client, token: str, status: int) -> None:
    """The challenge comes back for the right token only."""
    path = f"/webhooks/plain?hub.mode=subscribe&hub.verify_token={token}&hub.challenge=42"
    answer = client.request("GET", path)
    assert answer.status == status
    assert (answer.body == b"42") == (status == 200)


def test_an_endpoint_takes_its_client_s_shape(client: Client) -> None:
    """Segment's batch is stored without its key, and answered as Segment's SDKs expect."""
    batch = {"batch": [{"type": "track"}], "writeKey": "other", "sentAt": "now"}
    assert client.post("/v1/batch", batch).status == 401
    assert client.post("/v1/batch", {**batch, "writeKey": WRITER}).status == 403
    answer = client.post("/v1/batch", {**batch, "writeKey": "admin-key"})
    assert (answer.status, answer.json()) == (200, {"success": True})
    assert client.stored("segment", {"envelope": {"sentAt": "now"}, "payload": {"type": "track"}})


SHOP = {"Origin": "https://shop.example"}


def test_a_page_of_an_allowed_origin_may_post(client: Client) -> None:
    """Preflight and responses, errors included, carry the permission; text is read as JSON."""
    asked = client.request(
        "OPTIONS", "/payloads/web-1", None, **SHOP, Access_Control_Request_Method="POST"
    )
    assert asked.status == 204
    assert asked.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert "POST" in asked.headers["Access-Control-Allow-Methods"]
    for path, key, status in (
        ("/payloads/web-1", WRITER, 202),
        ("/payloads/web-1", "x", 401),
        ("/events/web-1", PAGE, 202),
    ):
        answer = client.post(path, [{"n": 1}], key, **SHOP, Content_Type="text/plain;charset=UTF-8")
        assert answer.status == status
        assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert answer.headers["Vary"] == "Origin"


def test_another_origin_gets_no_permission(client: Client) -> None:
    """Neither an unknown origin, nor `null`, nor a stream or route that is not for pages."""
    for path, origin in (
        ("/payloads/web-1", "https://evil.example"), ("/payloads/web-1", "null"),
        ("/payloads", "https://shop.example"), ("/stats", "https://shop.example"),
    ):  # fmt: skip
        asked = client.request("OPTIONS", path, Origin=origin, Access_Control_Request_Method="POST")
        assert asked.headers["Access-Control-Allow-Origin"] is None
        posted = client.post(path, [{"n": 1}], WRITER, Origin=origin)
        assert posted.headers["Access-Control-Allow-Origin"] is None
    text = client.post("/payloads", [{}], WRITER, Content_Type="text/plain")
    assert text.status == 415
