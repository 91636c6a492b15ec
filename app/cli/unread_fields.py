"""Fields of the key template that no payload fills in, as far as the settings show: for `check`."""

from collections.abc import Iterator

from marshmallow import RAISE, Schema, fields

from app.ingest.formats.schemas import load_payload_schema
from workers.segments.key_template import EVENT_FIELDS, KeyTemplate, Path, path_of, pointer_path
from workers.settings.settings import Settings

# What has no text of its own in a key.
_CONTAINERS = (fields.Nested, fields.Mapping, fields.List, fields.Tuple)


def unread_fields(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each field that is never filled in, or setting that has no use.

    Raises:
        SettingsError: there is no such schema.
    """
    used = KeyTemplate.parse(settings.key_template).fields
    of_event = set(EVENT_FIELDS).intersection(used)
    if settings.event_time is not None and not of_event:
        yield "EVENT_TIME has no use: KEY_TEMPLATE has neither {event_date} nor {event_hour}"
    if settings.payload_schema is None:
        return
    schema = load_payload_schema(settings.payload_schema)
    for field in used:
        if field not in of_event and (why := _why_unread(schema, path_of(field))):
            yield f"{{{field}}} is always __HIVE_DEFAULT_PARTITION__, but in webhooks: {why}"
    if of_event and (why := _why_unread(schema, pointer_path(settings.event_time or "/"))):
        yield f"EVENT_TIME finds no time, but in webhooks: {why}"


def _why_unread(schema: Schema, path: Path) -> str | None:
    """Return why no payload that follows the schema has a text at a path; None where one may."""
    name, *deeper = path
    found = {field.data_key or key: field for key, field in schema.load_fields.items()}.get(name)
    if found is None:
        return f"PAYLOAD_SCHEMA has no member {name!r}" if schema.unknown == RAISE else None
    if not deeper:
        is_container = isinstance(found, _CONTAINERS)
        return f"in PAYLOAD_SCHEMA {name!r} is an object or an array" if is_container else None
    if isinstance(found, fields.Nested):
        inner = found.schema
        return None if inner.many or found.many else _why_unread(inner, tuple(deeper))
    may_be_object = isinstance(found, fields.Mapping) or type(found) in {fields.Raw, fields.Field}
    return None if may_be_object else f"in PAYLOAD_SCHEMA {name!r} is no object"
