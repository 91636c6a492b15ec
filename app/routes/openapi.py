"""`GET /openapi.json`: the HTTP contract as an OpenAPI 3.1 document."""

import msgspec
from flask import Blueprint, Response

from app.openapi.document import PATH, document
from app.openapi.parts import JSON
from app.state import state

blueprint = Blueprint("openapi", __name__)


@blueprint.get(PATH)
def openapi() -> Response:
    """Show the contract of this service."""
    gate = state().entrance.gate
    made = document(rules=gate.rules if gate else None, schema=state().handler.schema)
    return Response(msgspec.json.encode(made), mimetype=JSON)
