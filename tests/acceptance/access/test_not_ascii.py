"""Headers that are not ASCII, and responses without a body: the same on each server."""

from functools import partial

from tests.acceptance.access.client import ADMIN, WRITER, Client
from tests.acceptance.access.test_ways_in import github
from tests.acceptance.wire import Wire, post


def test_a_cloudevent_s_attribute_is_not_lost(client: Client) -> None:
    """A value that the binding does not allow is refused, and not left out of the event."""
    headers = {
        "Authorization": f"Bearer {WRITER}", "ce-specversion": "1.0", "ce-id": "1",
        "ce-source": "/s", "ce-type": "t", "ce-subject": "caf\xe9",
    }  # fmt: skip
    with Wire(client.service.port) as wire:
        wire.send(post(b"{}", "/events/web-1", headers))
        answer = wire.answer()
    assert answer.status == 400
    assert b"ce-subject is not ASCII" in answer.body


def test_deliveries_with_such_ids_are_each_stored(client: Client) -> None:
    """Two ids that cannot be read are not one id."""
    for n in (1, 2):
        body = b'{"odd":%d}' % n
        headers = github(body) | {"X_GitHub_Delivery": f"caf\xe9{n}"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with Wire(client.service.port) as wire:
            wire.send(post(body, "/webhooks/github", named))
            assert wire.answer().status == 202
        assert client.stored_as("github", partial(is_payload, {"odd": n}))


def is_payload(wanted: object, line: dict[str, object]) -> bool:
    """Whether a line of a webhook has this payload."""
    return line["payload"] == wanted


def test_a_response_without_a_body_has_no_type(client: Client) -> None:
    """Neither a preflight's nor an endpoint's 204."""
    asked = client.request(
        "OPTIONS", "/payloads/web-1", Origin="https://shop.example",
        Access_Control_Request_Method="POST",
    )  # fmt: skip
    quiet = client.post("/quiet", {}, ADMIN)
    assert [answer.status for answer in (asked, quiet)] == [204, 204]
    assert [answer.headers["Content-Type"] for answer in (asked, quiet)] == [None, None]
