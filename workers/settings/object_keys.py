"""Where objects go in the bucket: settings of keys, checked without a payload."""

from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema

from workers.segments.key_template import EVENT_FIELDS, KeyTemplate, pointer_path


def _parsed_by(parse: Callable[[str], object]) -> Callable[[str], None]:
    def check(value: str) -> None:
        try:
            parse(value)
        except ValueError as error:
            raise ValidationError(str(error)) from error

    return check


class KeySchema(Schema):
    """The settings of keys, for the schema of all settings to inherit."""

    key_template = fields.String(
        load_default="",
        validate=_parsed_by(KeyTemplate.parse),
        metadata={
            "help": "Object key from `{stream}`, `{date}`, `{hour}`, `{segment}` (UTC), and from "
            "payloads: `{payload.…}`, `{event_date}`, `{event_hour}`."
        },
    )
    event_time = fields.String(
        load_default=None,
        validate=_parsed_by(pointer_path),
        metadata={"help": "JSON pointer to the time in a payload, for `{event_…}`."},
    )

    @validates_schema(skip_on_field_errors=False)
    def have_event_time(self, data: Mapping[str, Any], **_: object) -> None:
        """Refuse fields of an event's time without one to read."""
        if "key_template" not in data or "event_time" not in data:
            return
        used = set(EVENT_FIELDS).intersection(KeyTemplate.parse(data["key_template"]).fields)
        if used and data["event_time"] is None:
            names = " and ".join(f"{{{name}}}" for name in sorted(used))
            raise ValidationError(f"{names}: set EVENT_TIME", "key_template")
