"""`POST /payloads` and `POST /payloads/<stream>`: the main job's way in."""

import logging
from collections.abc import Iterator

from flask import Blueprint, Response, request

from app.problems import BadRequest, Problem, TooLarge
from app.state import state

log = logging.getLogger(__name__)
blueprint = Blueprint("payloads", __name__)

READ_BYTES = 1 << 16
# A client that sends before it reads would see a reset, not a 413: a body up to this many times too
# large is read to its end, and thrown away.
READ_AWAY = 8


@blueprint.post("/payloads", defaults={"stream": "default"})
@blueprint.post("/payloads/<stream>")
def accept(stream: str) -> Response:
    """Accept a collection for a stream."""
    door, coding = state().front_door, request.headers.get("Content-Encoding", "")
    with door.turn(request.content_length, content_encoding=coding):
        accepted = door.accept(
            stream,
            _read_body(state().settings.max_body_bytes),
            content_type=request.headers.get("Content-Type", ""),
            content_encoding=coding,
        )
    log.debug("accepted", extra={"stream": stream, "payloads": accepted.accepted})
    answer = Response(accepted.encode(), 202, mimetype="application/json")
    answer.headers["Location"] = f"/receipts/{accepted.receipts[0].id}"
    return answer


def _read_body(limit: int) -> bytes:
    """Read the whole body from the server, every byte it announced, and none past `limit`.

    werkzeug's own reader takes the end of a cut connection, or the limit itself, for the body's end
    where the server ends its input by itself, as gunicorn does.
    """
    length = request.content_length
    if length is not None and length > limit:
        if length <= limit * READ_AWAY and "Expect" not in request.headers:
            for _ in _parts(length):
                pass
        raise TooLarge(f"The body is larger than {limit} bytes.")
    if length is None and not request.environ.get("wsgi.input_terminated"):
        return b""
    parts = list(_parts(limit + 1 if length is None else length))
    size = sum(map(len, parts))
    if length is None and size > limit:
        raise TooLarge(f"The body is larger than {limit} bytes.")
    if length is not None and size < length:
        raise _incomplete()
    return b"".join(parts)


def _parts(wanted: int) -> Iterator[bytes]:
    """Yield the body as it comes, `wanted` bytes at most."""
    stream = request.environ["wsgi.input"]
    try:
        while wanted and (part := stream.read(min(wanted, READ_BYTES))):
            yield part
            wanted -= len(part)
    except OSError as error:
        raise _incomplete() from error
    except Exception as error:
        # Each server has errors of its own for chunks that are none.
        raise BadRequest("The body's chunks are broken.") from error


def _incomplete() -> Problem:
    # RFC 9110 section 15.5.9; a client that has left does not read it.
    detail = "The body did not arrive whole in time."
    return Problem(detail, status=408)
