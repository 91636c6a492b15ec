"""What a payload may be, as JSON Schema: any object, or what `PAYLOAD_SCHEMA` says."""

import logging
from collections import Counter
from typing import Final

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_cls
from marshmallow import Schema

from app.openapi.parts import Json

log = logging.getLogger(__name__)

NAME: Final = "Payload"
ANY: Final[Json] = {"type": "object", "description": "One payload: any JSON object."}


def payload_schemas(schema: Schema | None) -> Json:
    """Return the component `Payload`, and those that it refers to. Does not block."""
    if schema is None:
        return {NAME: ANY}
    names: Counter[str] = Counter()

    def name_of(found: type[Schema] | str | Schema) -> str:
        """Name a nested schema as no other component is: two may have classes of one name."""
        resolved = resolve_schema_cls(found)
        name = f"{NAME}.{resolved.__name__ if isinstance(resolved, type) else 'Nested'}"
        names[name] += 1
        return name if names[name] == 1 else f"{name}.{names[name]}"

    spec = APISpec(
        title="",
        version="",
        openapi_version="3.1.0",
        plugins=[MarshmallowPlugin(schema_name_resolver=name_of)],
    )
    try:
        spec.components.schema(NAME, schema=schema)
    except Exception as error:  # noqa: BLE001 (the schema is the operator's: it raises anything)
        log.warning("schema cannot be described", extra={"error": type(error).__name__})
        return {NAME: ANY}
    made: Json = spec.to_dict()["components"]["schemas"]
    return made
