"""Bodies with nothing in them: what the client is answered."""

import pytest

from app.http.problems import NotJson
from app.ingest.formats.decoding import decode
from app.ingest.formats.webhook_lines import read_payloads


@pytest.mark.parametrize("body", [b"", b" \r\n", b"\xef\xbb\xbf"])
def test_an_empty_body_is_called_empty(body: bytes) -> None:
    """A client that forgot its body learns that, and not that JSON was cut off."""
    with pytest.raises(NotJson, match=r"^The body is empty\.$"):
        decode(body, content_type="application/json")


@pytest.mark.parametrize("content_type", ["", "application/json"])
def test_an_empty_webhook_is_called_empty(content_type: str) -> None:
    """The same holds for a webhook's body."""
    with pytest.raises(NotJson, match=r"^The body is empty\.$"):
        read_payloads(b"", content_type=content_type)
