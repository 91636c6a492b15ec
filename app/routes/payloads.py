"""`POST /payloads` and `POST /payloads/<stream>`: the main job's way in, whatever its body."""

import logging

from flask import Blueprint, Response, request

from app.http.wsgi_body import content_length, read_body
from app.state import state

log = logging.getLogger(__name__)
blueprint = Blueprint("payloads", __name__)


@blueprint.post("/payloads", defaults={"stream": "default"})
@blueprint.post("/payloads/<stream>")
def accept(stream: str) -> Response:
    """Accept a collection for a stream."""
    handler, coding = state().handler, request.headers.get("Content-Encoding", "")
    with handler.reserve_body_memory(content_length(request.environ), content_encoding=coding):
        answer = handler.accept(
            stream,
            read_body(request.environ, limit=state().settings.max_body_bytes),
            content_type=request.headers.get("Content-Type", ""),
            content_encoding=coding,
        )
    return Response(answer.body, answer.status, answer.headers)
