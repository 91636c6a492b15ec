"""The OpenAPI document follows the access file and the payload schema."""

import json
import re
from typing import Any

import pytest
from marshmallow import INCLUDE, Schema, fields, validate

from app.access.rules import Endpoint, Rules
from app.openapi.document import document


def endpoint(path: str, **options: Any) -> Rules:
    """Make rules with one endpoint."""
    given = {"stream": "s", "payloads": "", **options}
    return Rules(keys={}, endpoints={path: Endpoint(path=path, **given)})


def operation(rules: Rules, path: str) -> dict[str, Any]:
    """Return an endpoint's operation."""
    found: dict[str, Any] = document(rules=rules, schema=None)["paths"][path]["post"]
    return found


def test_an_endpoint_s_body_has_the_shape_of_its_pointers() -> None:
    """Where payloads and key are is what a client must send; the key may be in the body alone."""
    made = operation(endpoint("/v1/batch", payloads="/a~1b/batch", key="/writeKey"), "/v1/batch")
    shape, key = made["requestBody"]["content"]["application/json"]["schema"]["allOf"]
    assert shape["required"] == ["a/b"]
    batch = shape["properties"]["a/b"]["properties"]["batch"]
    assert batch["oneOf"][0] == {"$ref": "#/components/schemas/Payload"}
    assert key == {
        "type": "object", "properties": {"writeKey": {"type": "string"}}, "required": ["writeKey"],
    }  # fmt: skip
    assert {} in made["security"]


@pytest.mark.parametrize(
    ("options", "status", "kinds"),
    [
        ({}, "202", ["application/json"]),
        ({"status": 200}, "200", ["application/json"]),
        ({"status": 200, "body": "ok"}, "200", ["text/plain; charset=utf-8"]),
        ({"status": 201, "body": "{}"}, "201", ["application/json"]),
        ({"status": 204}, "204", []),
    ],
)
def test_an_endpoint_s_response_is_the_file_s(
    options: dict[str, Any], status: str, kinds: list[str]
) -> None:
    """Status and media type are what a client gets; 201 where the client may ask for it."""
    made = operation(endpoint("/logs", **options), "/logs")
    expected = [status] if options else ["201", "202"]
    assert [each for each in made["responses"] if each < "300"] == expected
    assert ("parameters" in made) == (not options)
    assert list(made["responses"][status].get("content", {})) == kinds


class Line(Schema):
    """A part of an order."""

    sku = fields.String(required=True)
    count = fields.Integer(validate=validate.Range(1, 9), allow_none=True)


class Order(Schema):
    """What an operator might plug in; its name is that of no component."""

    class Meta:
        """Take what is not named here."""

        unknown = INCLUDE

    id = fields.UUID(required=True)
    lines = fields.List(fields.Nested(Line))
    first = fields.Nested(Line(only=["sku"]))
    parent = fields.Nested(f"{__name__}.Order")


def test_payloads_are_what_the_schema_says() -> None:
    """Members, types, bounds and nested schemas of `PAYLOAD_SCHEMA` are in the document."""
    found = document(rules=None, schema=Order())
    schemas = found["components"]["schemas"]
    payload = schemas["Payload"]
    assert payload["required"] == ["id"]
    assert payload["additionalProperties"] is True
    assert payload["properties"]["parent"] == {"$ref": "#/components/schemas/Payload"}
    line = schemas["Payload.Line"]
    assert line["additionalProperties"] is False
    assert line["properties"]["count"] == {
        "type": ["integer", "null"], "minimum": 1, "maximum": 9,
    }  # fmt: skip
    for reference in re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', json.dumps(found)):
        assert reference in schemas


class Odd(fields.Integer):
    """A field that cannot be described."""

    @property
    def metadata(self) -> Any:
        """Fail, as an operator's code may."""
        raise ZeroDivisionError

    @metadata.setter
    def metadata(self, _: Any) -> None:
        """Keep nothing."""


def test_a_schema_that_cannot_be_described_is_any_object(caplog: pytest.LogCaptureFixture) -> None:
    """The document is there all the same, and the log says why a payload may be anything."""
    found = document(rules=None, schema=Schema.from_dict({"n": Odd()})())
    assert found["components"]["schemas"]["Payload"]["type"] == "object"
    assert "schema cannot be described" in caplog.text
