"""Idempotency keys with an access file: each caller has its own, and webhooks their deliveries."""

import json
import uuid

from tests.acceptance.access.client import METERED, WRITER, Client
from tests.acceptance.access.test_ways_in import github
from tests.support.service import Answer

PAYLOADS = [{"n": 1}]


def is_replay(answer: Answer) -> bool:
    """Whether an answer says that it is one again."""
    return answer.headers.get("Idempotent-Replayed") == "true"


def delivered(body: bytes, delivery: str) -> dict[str, str]:
    """Return the headers of a delivery of GitHub's with an id."""
    return github(body) | {"X_GitHub_Delivery": delivery}


def test_a_key_is_its_callers(client: Client) -> None:
    """Another access key may use the same idempotency key, with another body."""
    key = str(uuid.uuid4())
    first = client.post("/payloads", PAYLOADS, WRITER, Idempotency_Key=key)
    assert first.status == 202
    other = client.post("/payloads", [{"n": 2}], METERED, Idempotency_Key=key)
    assert (other.status, is_replay(other)) == (202, False)
    again = client.post("/payloads", PAYLOADS, WRITER, Idempotency_Key=key)
    assert (again.body, is_replay(again)) == (first.body, True)


def test_the_caller_may_be_named_in_the_body(client: Client) -> None:
    """A key in the envelope counts as one in a header."""
    key = str(uuid.uuid4())
    body = {"token": WRITER, "payloads": PAYLOADS}
    first = client.post("/payloads", body, Idempotency_Key=key)
    assert first.status == 202
    assert is_replay(client.post("/payloads", body, Idempotency_Key=key))
    refused = client.post("/payloads", PAYLOADS, WRITER, Idempotency_Key=key)
    assert refused.status == 422


def test_a_refused_caller_learns_nothing(client: Client) -> None:
    """Without a key of the service there is no look at the idempotency key."""
    assert client.post("/payloads", PAYLOADS, Idempotency_Key="a").status == 401


def test_a_delivery_that_comes_again(client: Client) -> None:
    """A webhook's delivery id is its key: the first answer again, even if the body has changed."""
    delivery = str(uuid.uuid4())
    body = json.dumps({"action": delivery, "try": 1}).encode()
    first = client.post("/webhooks/github", body, **delivered(body, delivery))
    assert (first.status, is_replay(first)) == (202, False)
    body = json.dumps({"action": delivery, "try": 2}).encode()
    again = client.post("/webhooks/github", body, **delivered(body, delivery))
    assert (again.status, again.body, is_replay(again)) == (202, first.body, True)
    forged = client.post("/webhooks/github", body, X_GitHub_Delivery=delivery)
    assert forged.status == 401
    assert client.stored_as("github", lambda line: line["payload"].get("action") == delivery)
    assert sum(delivery.encode() in line for _, _, line in client.s3.lines()) == 1


def test_an_endpoint_answers_a_retry_as_its_clients_expect(client: Client) -> None:
    """With its own status and body, which say nothing of receipts."""
    key = str(uuid.uuid4())
    for replayed in (False, True):
        answer = client.post("/quiet", PAYLOADS, METERED, Idempotency_Key=key)
        assert (answer.status, answer.body, is_replay(answer)) == (204, b"", replayed)
