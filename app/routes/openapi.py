"""`GET /openapi.json`: the HTTP contract as an OpenAPI 3.1 document, made of the code's own facts.

Schemas come from the types that make the responses, limits and patterns from where they are
enforced. `docs/http.md` says more than a schema can.
"""

from typing import Any, Final

import msgspec
from flask import Blueprint, Response

from app.http.content_encoding import ACCEPT_ENCODING
from app.http.problems import CONTENT_TYPE as PROBLEM
from app.ingest.formats.decoding import ACCEPT
from app.ingest.formats.schemas import MAX_TOKEN, MAX_VERSION
from app.ingest.formats.webhook_lines import FORM
from app.probes import HEALTH, READINESS
from app.state import state
from workers.operate.receipts import Status
from workers.segments.naming import STREAM

blueprint = Blueprint("openapi", __name__)

PATH: Final = "/openapi.json"
JSON: Final = "application/json"
Json = dict[str, Any]
REFUSALS: Final = {
    400: "The body is not what it claims to be: not JSON, not UTF-8, cut short, damaged.",
    401: "No key, an unknown key, or a wrong signature.",
    403: "The key's scope or streams do not allow this, or it has expired.",
    404: "No such route, stream, source or receipt.",
    408: "The body did not arrive whole in time.",
    413: "The body is too large, as sent or decoded, or has too many values.",
    415: "Another media type or content coding, please.",
    422: "It is JSON, but not a collection of payloads.",
    429: "The key is at a limit; come back after `Retry-After` seconds.",
    500: "A fault of the service.",
    503: "Not now; come back after `Retry-After` seconds. Nothing was kept, unless `type` says so.",
}  # fmt: skip
OF_KEYS: Final = (401, 403, 429)
OF_BODIES: Final = (400, 404, 408, 413, 415, 422, 503)


class Receipt(msgspec.Struct):
    """Where payloads of a collection are going to be. Lines count from 1.

    `indexes` has ranges of payloads, counted from 0, where a collection goes to several partitions.
    """

    id: str
    object: str
    first_line: int
    count: int
    indexes: list[tuple[int, int]] | msgspec.UnsetType = msgspec.UNSET


class Accepted(msgspec.Struct):
    """The body of a 202."""

    accepted: int
    durability: str
    receipts: list[Receipt]


class Fault(msgspec.Struct):
    """One thing that is wrong, and where: a JSON pointer into the body (RFC 6901)."""

    pointer: str
    detail: str


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


def document(*, has_keys: bool) -> Json:
    """Return the document; with an access file it says that keys are needed."""
    refused = (*OF_KEYS, 500) if has_keys else (500,)
    _, components = msgspec.json.schema_components(
        [Accepted, Status, Problem, Stats], ref_template="#/components/schemas/{name}"
    )
    components.update(_request_schemas())
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
            "responses": {str(status): _refusal(status) for status in REFUSALS},
        },
    }
    if has_keys:
        made["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "basic": {"type": "http", "scheme": "basic"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "url": {"type": "apiKey", "in": "query", "name": "key"},
        }
        made["security"] = [{name: []} for name in ("bearer", "basic", "header", "url")]
    return made


def _paths(refused: tuple[int, ...]) -> Json:
    payloads = {kind: _ref("Collection" if kind == JSON else "Lines") for kind in _types(ACCEPT)}
    events = {**dict.fromkeys((JSON, "application/cloudevents+json"), _ref("Events")),
              "application/x-ndjson": _ref("Lines")}  # fmt: skip
    webhook = {JSON: {}, FORM: {"type": "object", "minProperties": 1}}
    webhooks = _post("Take a webhook", webhook, refused)
    webhooks["parameters"] = [_in_path("source", STREAM.pattern)]
    webhooks["responses"]["200"] = {"description": "What the access file says, or a challenge."}
    text = {"type": "string"}
    verify = _get("Answer Meta's question", "text/plain", text, (403, 404, *refused))
    verify["parameters"] = [_in_path("source", STREAM.pattern)]
    receipt = _get(
        "What became of a receipt's payloads", JSON, _ref("Status"), (404, 503, *refused)
    )
    receipt["parameters"] = [_in_path("id")]
    stats = _get("The ledger and gauges", JSON, _ref("Stats"), refused)
    metrics = _get("The same and more, for Prometheus", "text/plain", text, refused)
    return {
        "/payloads": {"post": _post("Take a collection", payloads, refused)},
        "/payloads/{stream}": {"post": _to_stream("Take a collection", payloads, refused)},
        "/events": {"post": _post("Take events without an envelope", events, refused)},
        "/events/{stream}": {"post": _to_stream("Take events", events, refused)},
        "/webhooks/{source}": {"post": webhooks, "get": verify},
        "/receipts/{id}": {"get": receipt},
        HEALTH: {"get": _probe("200 while the process lives", ())},
        READINESS: {"get": _probe("200 if this process would accept a collection now", (503,))},
        "/stats": {"get": stats},
        "/metrics": {"get": metrics},
        PATH: {"get": _get("This document", JSON, {"type": "object"}, refused)},
    }


def _request_schemas() -> Json:
    payload = {"type": "object", "description": "One payload: any JSON object."}
    array = {"type": "array", "items": _ref("Payload"), "minItems": 1}
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
        "Payload": payload,
        "Collection": {"oneOf": [envelope, array]},
        "Events": {"oneOf": [_ref("Payload"), array]},
        "Lines": {"type": "string", "description": "One JSON object a line."},
    }


def _to_stream(summary: str, content: Json, refused: tuple[int, ...]) -> Json:
    made = _post(summary, content, refused)
    made["parameters"] = [_in_path("stream", STREAM.pattern)]
    return made


def _post(summary: str, content: Json, refused: tuple[int, ...]) -> Json:
    accepted = {
        "description": f"Durable. Content-Encoding may be one of {ACCEPT_ENCODING}.",
        "headers": {"Location": {"description": "A receipt.", "schema": {"type": "string"}}},
        "content": {JSON: {"schema": _ref("Accepted")}},
    }  # fmt: skip
    return {
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": schema} for kind, schema in content.items()},
        },
        "responses": {"202": accepted, **_refusals((*OF_BODIES, *refused))},
    }


def _get(summary: str, kind: str, schema: Json, refused: tuple[int, ...]) -> Json:
    found = {"description": summary, "content": {kind: {"schema": schema}}}
    return {"summary": summary, "responses": {"200": found, **_refusals(refused)}}


def _probe(summary: str, refused: tuple[int, ...]) -> Json:
    return {**_get(summary, JSON, {"type": "object"}, refused), "security": []}


def _refusals(statuses: tuple[int, ...]) -> Json:
    return {str(each): {"$ref": f"#/components/responses/{each}"} for each in sorted(set(statuses))}


def _refusal(status: int) -> Json:
    made: Json = {
        "description": REFUSALS[status],
        "content": {PROBLEM: {"schema": _ref("Problem")}},
    }
    if status in (429, 503):
        seconds = {"type": "string", "pattern": "^[1-9][0-9]*$"}
        made["headers"] = {"Retry-After": {"required": True, "schema": seconds}}
    return made


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _in_path(name: str, pattern: str | None = None) -> Json:
    schema = (
        {"type": "string"} if pattern is None else {"type": "string", "pattern": f"^{pattern}$"}
    )
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _types(accept: str) -> list[str]:
    return accept.split(", ")


@blueprint.get(PATH)
def openapi() -> Response:
    """Show the contract of this service."""
    made = document(has_keys=state().entrance.gate is not None)
    return Response(msgspec.json.encode(made), mimetype=JSON)
