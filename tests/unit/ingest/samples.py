"""Short ways to decode a body, to make a head, and to read the faults of a refusal."""

import pytest
from marshmallow import Schema, fields

from app.http.problems import Problem
from app.ingest.formats.collection import Collection
from app.ingest.formats.decoding import decode

JSON, NDJSON = "application/json", "application/x-ndjson"
DEEP = 100_000


class OneSchema(Schema):
    """What an operator might plug in."""

    a = fields.Integer(required=True)


class Head:
    """The head of a request, with the headers given."""

    query = ""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def header(self, name: str) -> str | None:
        """Return a header's value."""
        return self._headers.get(name)

    def header_items(self) -> list[tuple[str, str]]:
        """Return all headers."""
        return list(self._headers.items())


def pointers(refusal: pytest.ExceptionInfo[Problem]) -> list[str]:
    """Return where the faults of a refusal are."""
    return [fault.pointer for fault in refusal.value.errors]


def from_json(body: bytes) -> Collection:
    """Decode JSON without a schema."""
    return decode(body, content_type=JSON)


def from_ndjson(body: bytes) -> Collection:
    """Decode NDJSON without a schema."""
    return decode(body, content_type=NDJSON)
