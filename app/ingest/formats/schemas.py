"""What marshmallow describes: the envelope, and a payload where the operator plugs a schema in.

Turns what marshmallow says into faults with JSON pointers. Knows neither Flask nor raw bodies.
"""

import importlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from app.http.problems import Fault, pointer
from workers.errors import SettingsError

log = logging.getLogger(__name__)

MAX_VERSION: Final = 64
MAX_TOKEN: Final = 512
# marshmallow's key for an error of the whole object
_WHOLE = "_schema"


def _is_array(value: Any) -> None:
    """Accept any array: what is in it stays raw, and is nothing for marshmallow to look at."""
    if not isinstance(value, list):
        raise ValidationError("Must be an array.")


class EnvelopeSchema(Schema):
    """A collection's envelope. Unknown members are refused: nothing sent is dropped silently."""

    version = fields.String(allow_none=True, validate=validate.Length(max=MAX_VERSION))
    token = fields.String(allow_none=True, validate=validate.Length(max=MAX_TOKEN))
    payloads = fields.Raw(validate=_is_array)
    data = fields.Raw(validate=_is_array)

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def one_array(self, _: Any, original: Mapping[str, Any], **__: Any) -> None:
        """Check that the payloads are there, once."""
        if ("payloads" in original) == ("data" in original):
            raise ValidationError("Must have exactly one of `payloads` and `data`.")


def load_payload_schema(path: str) -> Schema:
    """Import and build the schema that `path`, as `package.module:SchemaClass`, names.

    Raises:
        SettingsError: there is no such module or class, or it is no marshmallow schema.
    """
    module_name, colon, name = path.partition(":")
    if not (module_name and colon and name) or module_name.startswith("."):
        raise _wrong(f"{path!r} is not of the form package.module:SchemaClass")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise _wrong(f"cannot import {module_name!r}: {error}") from error
    found = getattr(module, name, None)
    if isinstance(found, type) and issubclass(found, Schema):
        return found()
    raise _wrong(f"module {module_name!r} has no marshmallow Schema class {name!r}")


def _wrong(why: str) -> SettingsError:
    return SettingsError(f"settings are wrong:\n  PAYLOAD_SCHEMA: {why}")


def validate_payloads(
    schema: Schema, lines: Iterable[bytes], *, at: str = "", wrapped: int = 0
) -> Iterator[Fault]:
    """Validate payloads, each one JSON object, one after the other; yield every fault.

    Lazy, so that a million faults cost no memory. `at` is the pointer to the array; the rest as for
    `complaints`.
    """
    for index, found in complaints(schema, lines, wrapped=wrapped):
        yield from faults(found, at=at + pointer(index))


def complaints(
    schema: Schema, lines: Iterable[bytes], *, wrapped: int = 0
) -> Iterator[tuple[int, Any]]:
    """Yield the index of each payload that the schema refuses, and marshmallow's messages.

    Of a member that a payload has twice the last is checked. `wrapped` says in how many envelopes,
    each with the rest as its `payload`, a payload is in its line. Any other exception of the schema
    is a fault of that payload too, and a WARNING in the log: marshmallow's own fields leak errors
    of Python's.
    """
    failed = False
    for index, line in enumerate(lines):
        try:
            found = _complaints(schema, line, wrapped)
        except Exception as error:  # noqa: BLE001 (the schema is the operator's: it raises anything)
            # The error's text may hold what the payload holds.
            kind = type(error).__name__
            if not failed:
                log.warning("schema failed", extra={"error": kind})
            failed = True
            found = f"Cannot be validated: {kind}."
        if found:
            yield index, found


def _complaints(schema: Schema, line: bytes, wrapped: int) -> Any:
    try:
        value = json.loads(line)
        for _ in range(wrapped):
            value = value["payload"]
    except RecursionError:
        return "Nested too deeply to be validated."
    except ValueError:
        # the payload is valid JSON: only int()'s limit on digits (CVE-2020-10735) is left
        return "Holds an integer too long to be validated."
    try:
        return schema.validate(value)
    except RecursionError:
        return "Nested too deeply to be validated."


def faults(found: Any, *, at: str = "") -> Iterator[Fault]:
    """Turn marshmallow's tree of messages into faults; `at` points to what was validated."""
    if isinstance(found, Mapping):
        for name, inner in found.items():
            yield from faults(inner, at=at if name == _WHOLE else at + pointer(name))
    elif isinstance(found, list):
        for inner in found:
            yield from faults(inner, at=at)
    else:
        yield Fault(at, str(found))
