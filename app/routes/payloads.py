"""`POST /payloads` and `POST /payloads/<stream>`, for any WSGI server."""

from flask import Blueprint, Response, request

from app.http.problems import Problem
from app.http.wsgi_body import reading_body
from app.routes.hooks import as_flask
from app.state import state
from workers.segments.naming import STREAM

blueprint = Blueprint("payloads", __name__)


@blueprint.post("/payloads", defaults={"stream": "default"})
@blueprint.post("/payloads/<stream>")
def accept(stream: str) -> Response:
    """Accept a collection for a stream; blocks on the client's body, and until it is durable."""
    if not STREAM.fullmatch(stream):
        raise Problem("A stream's name is 1 to 64 of a-z 0-9 _ -.", status=404)
    here = state()
    limit = here.settings.max_body_bytes
    with reading_body(request.environ, limit=limit, memory=here.body_memory) as body:
        answer = here.handler.accept(
            stream,
            body,
            content_type=request.headers.get("Content-Type", ""),
            content_encoding=request.headers.get("Content-Encoding", ""),
        )
    return as_flask(answer)
