"""`POST /payloads` and `POST /payloads/<stream>`: the main job's way in."""

import logging

from flask import Blueprint, Response, request
from werkzeug.exceptions import ClientDisconnected

from app.problems import Problem
from app.state import state

log = logging.getLogger(__name__)
blueprint = Blueprint("payloads", __name__)


@blueprint.post("/payloads", defaults={"stream": "default"})
@blueprint.post("/payloads/<stream>")
def accept(stream: str) -> Response:
    """Accept a collection for a stream."""
    accepted = state().front_door.accept(
        stream,
        _read_body(),
        content_type=request.headers.get("Content-Type", ""),
        content_encoding=request.headers.get("Content-Encoding", ""),
    )
    log.debug("accepted", extra={"stream": stream, "payloads": accepted.accepted})
    answer = Response(accepted.encode(), 202, mimetype="application/json")
    answer.headers["Location"] = f"/receipts/{accepted.receipts[0].id}"
    return answer


def _read_body() -> bytes:
    """Read the whole body; werkzeug refuses one longer than `MAX_BODY_BYTES` while it reads."""
    try:
        return request.get_data(cache=False)
    except (ClientDisconnected, OSError) as error:
        # RFC 9110 section 15.5.9; a client that has left does not read it
        raise Problem("The body did not arrive whole in time.", status=408) from error
