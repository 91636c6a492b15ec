"""The header Idempotency-Key as it is read."""

import pytest

from app.http.problems import BadRequest
from app.ingest.idempotency import IdempotentRequest, read_key


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ('"8e03978e"', "8e03978e"),
        ('\t "a b" ', "a b"),
        (r'"\"\\"', '"\\'),
        ("a" * 255, "a" * 255),
        ("MDEyMzQ=", "MDEyMzQ="),
    ],
)
def test_a_key(header: str, key: str) -> None:
    """A string in double quotes, or the same without."""
    assert read_key(header) == key


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        '""',
        '"',
        "a b",
        "a,b",
        "a;b",
        '"a";b',
        "a\\",
        '"\\a"',
        "é",
        "a\x7f",
        '"\n"',
        "a" * 256,
    ],
)
def test_no_key(header: str) -> None:
    """Anything else is refused, and the answer says what would do."""
    with pytest.raises(BadRequest, match="one key of 1 to 255"):
        read_key(header)


def test_a_service_without_keys_says_so() -> None:
    """Where keys cannot be kept a request with one is refused; a webhook is not."""
    with pytest.raises(BadRequest, match="DURABILITY"):
        IdempotentRequest(None, caller="", stream="s", header="a")
    IdempotentRequest(None, caller="", stream="s", header=None)
