"""The envelope's schema, a plugged-in payload schema, and their faults."""

import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
from marshmallow import Schema, fields, validate

from app.http.problems import Fault
from app.ingest.formats.schemas import (
    MAX_TOKEN,
    MAX_VERSION,
    EnvelopeSchema,
    faults,
    load_payload_schema,
    validate_payloads,
)
from workers.errors import SettingsError


class PointSchema(Schema):
    """What an operator might plug in; points hold points."""

    x = fields.Integer(required=True)
    label = fields.String(validate=validate.Length(max=3))
    inner = fields.Nested("PointSchema")
    rows = fields.List(fields.Integer())


def envelope_faults(**members: Any) -> list[Fault]:
    """Return what is wrong with an envelope of these members."""
    return list(faults(EnvelopeSchema().validate(members)))


@pytest.mark.parametrize(
    "members",
    [
        {"payloads": []},
        {"data": [1]},
        {"payloads": [], "version": "v" * MAX_VERSION, "token": "t" * MAX_TOKEN},
        {"payloads": [], "version": None, "token": None},
        {"payloads": [], "version": "", "token": ""},
    ],
)
def test_good_envelopes_pass(members: dict[str, Any]) -> None:
    """An envelope may leave out or null its version and token, and name its array either way."""
    assert envelope_faults(**members) == []


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({}, ""),
        ({"payloads": [], "data": []}, ""),
        ({"payloads": {}, "data": {}}, ""),
        ({"payloads": "x"}, "/payloads"),
        ({"data": None}, "/data"),
        ({"payloads": [], "version": 1}, "/version"),
        ({"payloads": [], "version": "v" * (MAX_VERSION + 1)}, "/version"),
        ({"payloads": [], "token": ["t"]}, "/token"),
        ({"payloads": [], "token": "t" * (MAX_TOKEN + 1)}, "/token"),
        ({"payloads": [], "a/b": None}, "/a~1b"),
    ],
)
def test_bad_envelopes_are_pointed_at(members: dict[str, Any], pointer: str) -> None:
    """Each fault of an envelope is pointed at by name, and one of the whole by an empty pointer."""
    assert pointer in {fault.pointer for fault in envelope_faults(**members)}


def test_nested_messages_become_pointers() -> None:
    """Members, indexes and errors of a whole object in marshmallow's tree become JSON pointers."""
    tree = {"a": {0: {"b": ["one", "two"]}}, "_schema": ["whole"]}
    assert list(faults(tree, at="/3")) == [
        Fault("/3/a/0/b", "one"),
        Fault("/3/a/0/b", "two"),
        Fault("/3", "whole"),
    ]


def test_every_payload_is_validated() -> None:
    """Every fault of every payload is yielded, with the payload's index in its pointer."""
    payloads = [b'{"x":1}', b'{"label":"long"}', b'{"x":2,"inner":{"x":3,"rows":[1,"?"]}}']
    found = list(validate_payloads(PointSchema(), payloads, at="/payloads"))
    assert {fault.pointer for fault in found} == {
        "/payloads/1/x",
        "/payloads/1/label",
        "/payloads/2/inner/rows/1",
    }


def test_validation_is_lazy() -> None:
    """Payloads are looked at no sooner than their faults are asked for."""

    def endless() -> Iterator[bytes]:
        while True:
            yield b"{}"

    found = validate_payloads(PointSchema(), endless())
    assert [next(found).pointer, next(found).pointer] == ["/0/x", "/1/x"]


def test_numbers_reach_the_schema_exact() -> None:
    """An integer beyond 2^53 is validated as itself, not as the nearest float."""
    seen: list[object] = []

    class Exact(Schema):
        n = fields.Raw(validate=seen.append)

    assert list(validate_payloads(Exact(), [b'{"n":12345678901234567890123}'])) == []
    assert seen == [12345678901234567890123]


def test_a_number_beyond_floats_is_no_crash() -> None:
    """A number too large for a float reaches the schema as infinity, which it may refuse or not."""

    class Numbers(Schema):
        anything = fields.Raw()
        number = fields.Float()

    [fault] = validate_payloads(Numbers(), [b'{"anything":1e999,"number":1e999}'])
    assert fault.pointer == "/0/number"


def test_an_endless_integer_is_a_fault() -> None:
    """An integer with more digits than Python converts is a fault, not a crash."""
    [fault] = validate_payloads(PointSchema(), [b'{"x":' + b"1" * 5000 + b"}"])
    assert (fault.pointer, "too long" in fault.detail) == ("/0", True)


@pytest.mark.parametrize("depth", [400, 100_000])
def test_a_payload_too_deep_to_validate_is_a_fault(depth: int) -> None:
    """Nesting beyond what json, or the schema's own recursion, can follow is a fault."""
    payload = b'{"x":1,"inner":' * depth + b'{"x":1}' + b"}" * depth
    assert list(validate_payloads(PointSchema(), [payload])) == [
        Fault("/0", "Nested too deeply to be validated.")
    ]


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a module as an operator would write it, and return its name."""
    module = types.ModuleType("a_plugin")
    vars(module).update(PointSchema=PointSchema, instance=PointSchema(), number=1)
    monkeypatch.setitem(sys.modules, "a_plugin", module)
    return "a_plugin"


def test_a_schema_is_loaded_by_its_path(plugin: str) -> None:
    """`package.module:SchemaClass` becomes an instance of that class."""
    assert isinstance(load_payload_schema(f"{plugin}:PointSchema"), PointSchema)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("a_plugin", "not of the form package.module:SchemaClass"),
        ("a_plugin:", "not of the form"),
        (":PointSchema", "not of the form"),
        (".relative:PointSchema", "not of the form"),
        ("no_such_module:PointSchema", "cannot import 'no_such_module'"),
        ("a_plugin:Missing", "module 'a_plugin' has no marshmallow Schema class 'Missing'"),
        ("a_plugin:number", "has no marshmallow Schema class 'number'"),
        ("a_plugin:instance", "has no marshmallow Schema class 'instance'"),
    ],
)
@pytest.mark.usefixtures("plugin")
def test_a_wrong_path_is_said(path: str, message: str) -> None:
    """A path that names no schema class is an error that says what is wrong with it."""
    with pytest.raises(SettingsError, match=f"PAYLOAD_SCHEMA: .*{message}"):
        load_payload_schema(path)


class Leaking(Schema):
    """marshmallow's own field raises OverflowError for what no clock can show."""

    at = fields.DateTime(format="timestamp")


def test_an_exception_of_a_schema_is_the_payload_s_fault(caplog: pytest.LogCaptureFixture) -> None:
    """It is named by the payload's index, and logged once, by its kind alone."""
    line = b'{"at":' + b"9" * 310 + b"}"
    found = list(validate_payloads(Leaking(), [b"{}", line, line]))
    assert found == [
        Fault("/1", "Cannot be validated: OverflowError."),
        Fault("/2", "Cannot be validated: OverflowError."),
    ]
    assert [record.message for record in caplog.records] == ["schema failed"]
