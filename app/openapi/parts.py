"""Parts of the OpenAPI document: operations, responses and references, as plain data."""

from typing import Any, Final

from app.http.content_encoding import ACCEPT_ENCODING
from app.http.problems import CONTENT_TYPE as PROBLEM
from workers.segments.naming import STREAM

JSON: Final = "application/json"
Json = dict[str, Any]
REFUSALS: Final = {
    400: "The body is not what it claims to be: not JSON, not UTF-8, cut short, damaged.",
    401: "No key, an unknown key, or a wrong signature.",
    403: "The key's scope or streams do not allow this, or it has expired.",
    404: "No such route, stream, source or receipt.",
    408: "The body did not arrive whole in time.",
    409: "A request with this `Idempotency-Key` is under way; wait `Retry-After` seconds.",
    413: "The body is too large, as sent or decoded, or has too many values.",
    415: "Another media type or content coding, please.",
    422: "It is JSON, but not a collection of payloads; or the key was used with another body.",
    429: "The key is at a limit; come back after `Retry-After` seconds.",
    500: "A fault of the service.",
    503: "Not now; come back after `Retry-After` seconds. Nothing was kept, unless `type` says so.",
}  # fmt: skip
OF_KEYS: Final = (401, 403, 429)
OF_BODIES: Final = (400, 404, 408, 409, 413, 415, 422, 503)
PREFER: Final[Json] = {
    "name": "Prefer",
    "in": "header",
    "description": "RFC 7240: `wait=10`, to be answered when the payloads are in S3; "
    "`handling=lenient`, to leave out payloads with faults.",
    "schema": {"type": "string"},
}
KEY: Final[Json] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A retry with the key of an accepted request gets the same answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


def to_stream(summary: str, content: Json, refused: tuple[int, ...]) -> Json:
    """Return a POST for a stream that the path names."""
    made = post(summary, content, refused)
    made["parameters"].append(in_path("stream", STREAM.pattern))
    return made


def post(summary: str, content: Json, refused: tuple[int, ...]) -> Json:
    """Return a POST of payloads, with the responses that it may have."""
    text = {"type": "string"}
    accepted = {
        "headers": {
            "Location": {"description": "A receipt.", "required": True, "schema": text},
            "Preference-Applied": {"description": "What `Prefer` led to.", "schema": text},
            "Idempotent-Replayed": {
                "description": "`true` for the answer to an earlier request.",
                "schema": text,
            },
        },
        "content": {JSON: {"schema": ref("Accepted")}},
    }  # fmt: skip
    durable = f"Durable. Content-Encoding may be one of {ACCEPT_ENCODING}."
    return {
        "summary": summary,
        "parameters": [PREFER, KEY],
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": schema} for kind, schema in content.items()},
        },
        "responses": {
            "201": {"description": "In S3, as `Prefer: wait` asked for.", **accepted},
            "202": {"description": durable, **accepted},
            **refusals((*OF_BODIES, *refused)),
        },
    }


def get(summary: str, kind: str, schema: Json, refused: tuple[int, ...]) -> Json:
    """Return a GET whose 200 has a schema."""
    found = {"description": summary, "content": {kind: {"schema": schema}}}
    return {"summary": summary, "responses": {"200": found, **refusals(refused)}}


def probe(summary: str, refused: tuple[int, ...]) -> Json:
    """Return a probe, which needs no key."""
    return {**get(summary, JSON, {"type": "object"}, refused), "security": []}


def refusals(statuses: tuple[int, ...]) -> Json:
    """Refer to the responses of some statuses."""
    return {str(each): {"$ref": f"#/components/responses/{each}"} for each in sorted(set(statuses))}


def refusal(status: int) -> Json:
    """Return the response of a status, a problem document."""
    made: Json = {
        "description": REFUSALS[status],
        "content": {PROBLEM: {"schema": ref("Problem")}},
    }
    if status in (429, 503):
        seconds = {"type": "string", "pattern": "^[1-9][0-9]*$"}
        made["headers"] = {"Retry-After": {"required": True, "schema": seconds}}
    return made


def ref(name: str) -> Json:
    """Refer to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def in_path(name: str, pattern: str | None = None) -> Json:
    """Return a parameter of the path."""
    schema = (
        {"type": "string"} if pattern is None else {"type": "string", "pattern": f"^{pattern}$"}
    )
    return {"name": name, "in": "path", "required": True, "schema": schema}
