"""The access file's endpoints in the OpenAPI document: the shape that each one's clients send."""

from app.access.rules import Endpoint, Rules
from app.ingest.arrival import NO_CONTENT, content_type_of, has_own_answer
from app.ingest.formats.endpoint_format import tokens
from app.openapi.parts import JSON, Json, post, ref


def endpoint_paths(rules: Rules, refused: tuple[int, ...]) -> Json:
    """Return the paths of the endpoints."""
    return {path: {"post": _post(each, refused)} for path, each in rules.endpoints.items()}


def _post(endpoint: Endpoint, refused: tuple[int, ...]) -> Json:
    made = post(f"Take payloads for {endpoint.stream}", {JSON: _body(endpoint)}, refused)
    if has_own_answer(endpoint):
        del made["parameters"], made["responses"]["201"]
        made["responses"][str(endpoint.status)] = _own(endpoint, made["responses"].pop("202"))
    if endpoint.key is not None:
        # Where no header has a key it is in the body.
        made["security"] = [{}]
    return made


def _own(endpoint: Endpoint, accepted: Json) -> Json:
    """Return the response that the access file says."""
    found = dict(accepted)
    if endpoint.status in NO_CONTENT:
        del found["content"]
    elif endpoint.body is not None:
        found["content"] = {content_type_of(endpoint.body): {"example": endpoint.body}}
    return found


def _body(endpoint: Endpoint) -> Json:
    payload = ref("Payload")
    array: Json = {"type": "array", "items": payload, "minItems": 1}
    made = _nested(endpoint.payloads, {"oneOf": [payload, array]})
    if endpoint.key is None:
        return made
    return {"allOf": [made, _nested(endpoint.key, {"type": "string"})]}


def _nested(pointer: str, schema: Json) -> Json:
    """Return the schema of a body that has something at a JSON pointer."""
    for name in reversed(tokens(pointer)):
        schema = {"type": "object", "properties": {name: schema}, "required": [name]}
    return schema
