"""The routes that take payloads, for any WSGI server; an `Arrival` says which one it is."""

from flask import Blueprint, Response, g, request

from app.access.rules import WRITE
from app.http.problems import Problem
from app.http.wsgi_body import content_length, reading_body
from app.ingest.arrival import verify_challenge
from app.routes.every_request import FlaskHead, as_flask
from app.state import state

blueprint = Blueprint("payloads", __name__)


@blueprint.post("/payloads")
@blueprint.post("/payloads/<stream>")
@blueprint.post("/events")
@blueprint.post("/events/<stream>")
@blueprint.post("/webhooks/<source>")
def accept(**_: str) -> Response:
    """Accept payloads; blocks on the client's body, and until they are durable."""
    here, encoding = state(), request.headers.get("Content-Encoding", "")
    arrival = here.entrance.arrive(
        request.path,
        FlaskHead(request),
        length=content_length(request.environ),
        encoded=bool(encoding),
    )
    if arrival is None:
        if here.entrance.gate is not None:
            head = FlaskHead(request)
            here.entrance.gate.admit(
                action=WRITE, stream=None, header=head.header, query=head.query
            )
        if request.path.startswith("/webhooks/"):
            raise Problem("There is no such webhook.", status=404)
        raise Problem(
            "A stream's name is 1 to 64 of a-z 0-9 _ -, and neither _dead nor _watermark.",
            status=404,
        )
    g.arrival = arrival
    if arrival.problem is not None:
        raise arrival.problem
    limit = here.settings.max_body_bytes
    with reading_body(
        request.environ, limit=limit, memory=here.body_memory, arrived=arrival.body_arrived
    ) as body:
        answer = here.handler.accept(
            arrival,
            body,
            content_encoding=encoding,
            prefer=request.headers.get("Prefer", ""),
            key=request.headers.get("Idempotency-Key"),
        )
    return as_flask(answer)


@blueprint.get("/webhooks/<source>")
def verify(source: str) -> Response:
    """Answer a sender that asks whether this endpoint is ours."""
    gate = state().entrance.gate
    rules = gate.rules if gate else None
    webhook = rules.webhooks.get(source) if rules else None
    if gate is not None and (webhook is None or webhook.verify_token is None):
        # Which sources there are is for those with a key.
        head = FlaskHead(request)
        gate.admit(action=WRITE, stream=None, header=head.header, query=head.query)
    return as_flask(verify_challenge(rules, source=source, get=request.args.get))
