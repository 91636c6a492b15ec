"""The HTTP contract as an OpenAPI 3.1 document, made of the code's own facts.

Schemas come from the types that make the responses, limits and patterns from where they are
enforced, endpoints from the access file. `docs/http.md` says more than a schema can.
"""

from typing import Final, Literal

import msgspec
from marshmallow import Schema

from app.access.rules import Rules
from app.ingest.formats.decoding import ACCEPT
from app.ingest.formats.schemas import MAX_TOKEN, MAX_VERSION
from app.ingest.formats.webhook_lines import FORM
from app.openapi.console import CONSOLE, console_paths
from app.openapi.endpoints import endpoint_paths
from app.openapi.parts import (
    JSON,
    OF_KEYS,
    REFUSALS,
    Json,
    get,
    in_path,
    post,
    probe,
    ref,
    refusal,
    to_stream,
)
from app.openapi.payload_schema import payload_schemas
from app.probes import HEALTH, READINESS
from workers.operate.receipts import Status
from workers.segments.naming import STREAM

PATH: Final = "/openapi.json"
SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "url": {"type": "apiKey", "in": "query", "name": "key"},
}


class Fault(msgspec.Struct):
    """One thing that is wrong, and where: a JSON pointer into the body (RFC 6901)."""

    pointer: str
    detail: str


class Receipt(msgspec.Struct):
    """Where payloads of a collection are going to be. Lines count from 1.

    `indexes` has ranges of payloads, counted from 0, where a collection goes to several partitions.
    `state` is in a 201.
    """

    id: str
    object: str
    first_line: int
    count: int
    indexes: list[tuple[int, int]] | msgspec.UnsetType = msgspec.UNSET
    state: Literal["stored"] | msgspec.UnsetType = msgspec.UNSET


class Accepted(msgspec.Struct):
    """The body of a 202, and of a 201. `rejected` is there with `Prefer: handling=lenient`."""

    accepted: int
    durability: str
    receipts: list[Receipt]
    rejected: list[Fault] | msgspec.UnsetType = msgspec.UNSET


class Problem(msgspec.Struct, omit_defaults=True):
    """A refusal (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault] = []


class Stats(msgspec.Struct):
    """The ledger and gauges of the whole service."""

    accepted: int
    stored: int
    pending: int
    dead: int
    queue_depth: int
    idle_workers: int
    oldest_unstored_seconds: float
    held_bytes: int
    durability: str


def document(*, rules: Rules | None, schema: Schema | None) -> Json:
    """Return the document of a service with these access rules and this schema of payloads."""
    refused = (500,) if rules is None else (*OF_KEYS, 500)
    _, components = msgspec.json.schema_components(
        [Accepted, Status, Problem, Stats, *CONSOLE], ref_template="#/components/schemas/{name}"
    )
    components.update(_request_schemas())
    components.update(payload_schemas(schema))
    made: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "Bucket Brigade",
            "version": "1",
            "description": "JSON over HTTP into S3: durable before the answer, with a receipt.",
        },
        "paths": _paths(refused),
        "components": {
            "schemas": components,
            "responses": {str(status): refusal(status) for status in REFUSALS},
        },
    }
    if rules is not None:
        made["components"]["securitySchemes"] = SCHEMES
        made["security"] = [{name: []} for name in SCHEMES]
        made["paths"].update(endpoint_paths(rules, refused))
    return made


def _paths(refused: tuple[int, ...]) -> Json:
    payloads = {kind: ref("Collection" if kind == JSON else "Lines") for kind in ACCEPT.split(", ")}
    events = {**dict.fromkeys((JSON, "application/cloudevents+json"), ref("Events")),
              "application/x-ndjson": ref("Lines")}  # fmt: skip
    webhook = {JSON: {}, FORM: {"type": "object", "minProperties": 1}}
    webhooks = post("Take a webhook", webhook, refused)
    webhooks["parameters"].append(in_path("source", STREAM.pattern))
    webhooks["responses"]["200"] = {"description": "What the access file says, or a challenge."}
    text = {"type": "string"}
    verify = get("Answer Meta's question", "text/plain", text, (403, 404, *refused))
    verify["parameters"] = [in_path("source", STREAM.pattern)]
    receipt = get("What became of a receipt's payloads", JSON, ref("Status"), (404, 503, *refused))
    receipt["parameters"] = [in_path("id")]
    stats = get("The ledger and gauges", JSON, ref("Stats"), refused)
    metrics = get("The same and more, for Prometheus", "text/plain", text, refused)
    return {
        "/payloads": {"post": post("Take a collection", payloads, refused)},
        "/payloads/{stream}": {"post": to_stream("Take a collection", payloads, refused)},
        "/events": {"post": post("Take events without an envelope", events, refused)},
        "/events/{stream}": {"post": to_stream("Take events", events, refused)},
        "/webhooks/{source}": {"post": webhooks, "get": verify},
        "/receipts/{id}": {"get": receipt},
        HEALTH: {"get": probe("200 while the process lives", ())},
        READINESS: {"get": probe("200 if this process would accept a collection now", (503,))},
        "/stats": {"get": stats},
        "/metrics": {"get": metrics},
        PATH: {"get": get("This document", JSON, {"type": "object"}, refused)},
        **console_paths(refused),
    }


def _request_schemas() -> Json:
    array = {"type": "array", "items": ref("Payload"), "minItems": 1}
    envelope = {
        "type": "object",
        "properties": {
            "payloads": array,
            "data": array,
            "version": {"type": ["string", "null"], "maxLength": MAX_VERSION},
            "token": {"type": ["string", "null"], "maxLength": MAX_TOKEN},
        },
        "additionalProperties": False,
        "oneOf": [{"required": ["payloads"]}, {"required": ["data"]}],
    }
    return {
        "Collection": {"oneOf": [envelope, array]},
        "Events": {"oneOf": [ref("Payload"), array]},
        "Lines": {"type": "string", "description": "One JSON object a line."},
    }
