"""Where `envelope_token` is set: the key is the envelope's, and in no object."""

import pytest

from tests.acceptance.access.client import WRITER, Client


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/JSONL; charset=utf-8"])
def test_a_line_is_no_envelope(client: Client, kind: str) -> None:
    """A single line would be stored with its `token`: there it is no key."""
    body = b'{"token":"%s","n":1}' % WRITER.encode()
    assert client.post("/payloads", body, Content_Type=kind).status == 401


def test_an_envelope_is_stored_without_its_key(client: Client) -> None:
    """Text of a page that may post is JSON, with an envelope as any."""
    body = b'{"token":"%s","payloads":[{"enveloped":1}]}' % WRITER.encode()
    page = {"Content_Type": "text/plain;charset=UTF-8", "Origin": "https://shop.example"}
    assert client.post("/payloads/web-t", body, **page).status == 202
    assert client.stored("web-t", {"enveloped": 1})
