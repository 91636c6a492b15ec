"""Which delivery a webhook is, and JSON text sequences, read from what senders send."""

import hashlib
import hmac

import pytest

from app.access.rules import Webhook
from app.http.problems import BadRequest
from app.ingest.formats.collection import Collection
from app.ingest.readers import read_events, read_webhook
from tests.unit.ingest.samples import Head

NOW = 1_531_420_618
SECRET = b"8f742231b10e8888abcd99yyyzzz85a5"


def read(body: bytes, scheme: str, **headers: str) -> Collection:
    """Read a webhook."""
    rule = Webhook(source="w", scheme=scheme, secrets=(SECRET,), stream="w")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    found = read_webhook(
        body, webhook=rule, head=Head(named), inflate=bytes, limit=1 << 20, now=NOW
    )
    assert isinstance(found, Collection)
    return found


def mac(signed: bytes) -> str:
    """Sign as Slack and GitHub do."""
    return hmac.new(SECRET, signed, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("body", "delivery"),
    [
        (b'{"type":"event_callback","event_id":"Ev08MFMKH6"}', "Ev08MFMKH6"),
        (b'{"type":"event_callback","event_id":5}', None),
        (b'{"type":"block_actions"}', None),
        (b"5", None),
    ],
)
def test_slack_names_its_events_in_the_body(body: bytes, delivery: str | None) -> None:
    """Slack sends an event up to three times more; its `event_id` is the same each time."""
    signature = f"v0={mac(b'v0:%d:' % NOW + body)}"
    found = read(body, "slack", x_slack_request_timestamp=str(NOW), x_slack_signature=signature)
    assert found.delivery == delivery
    assert (b'"id":"Ev08MFMKH6"' in found.lines) == (delivery is not None)


@pytest.mark.parametrize(("given", "delivery"), [("d-1", "d-1"), ("d\ufffd", None), ("é", None)])
def test_an_id_that_cannot_be_read_is_none(given: str, delivery: str | None) -> None:
    """The engine has one text for all values that are not ASCII: they are not one delivery."""
    signature = f"sha256={mac(b'{}')}"
    found = read(b"{}", "github", x_hub_signature_256=signature, x_github_delivery=given)
    assert found.delivery == delivery


@pytest.mark.parametrize(
    "body", [b'\x1e{"n":1}\n\x1e{\n"n":2}\n', b'\x1e{"n":1}\x1e{"n":2}', b'\x1e[{"n":1},{"n":2}]\n']
)
def test_a_json_text_sequence_is_values_in_a_row(body: bytes) -> None:
    """RFC 7464: the separators are taken off."""
    head = Head({"content-type": "application/json-seq"})
    assert read_events(body, head=head, schema=None).lines == b'{"n":1}\n{"n":2}\n'


def test_a_cloudevent_s_attributes_are_ascii() -> None:
    """Its binding asks for percent-encoding; else each server would store something else."""
    names = ("ce-specversion", "ce-id", "ce-source", "ce-type")
    head = Head({**dict.fromkeys(names, "1.0"), "ce-subject": "é"})
    with pytest.raises(BadRequest, match="ce-subject is not ASCII"):
        read_events(b"{}", head=head, schema=None)
