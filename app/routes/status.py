"""`/healthz`, `/readyz`, `/stats`: for load balancers and people."""

import time

from flask import Blueprint, Response, jsonify

from app.probes import HEALTH, READINESS
from app.routes.every_request import as_flask
from app.state import state
from workers.spool.counters import Field

blueprint = Blueprint("status", __name__)


@blueprint.get(HEALTH)
def health() -> Response:
    """Say that the process is alive."""
    return as_flask(state().probes.health())


@blueprint.get(READINESS)
def readiness() -> Response:
    """Say whether this process would accept a collection now; 503 with the reason if not."""
    return as_flask(state().probes.readiness())


@blueprint.get("/stats")
def stats() -> Response:
    """Show the whole service's counters and gauges: of all processes, those that ended included."""
    totals = state().pipeline().totals()
    oldest = totals.oldest_microseconds
    return jsonify(
        accepted=totals[Field.ACCEPTED],
        stored=totals[Field.STORED],
        pending=totals.pending,
        dead=totals[Field.DEAD],
        queue_depth=totals[Field.QUEUE_DEPTH],
        idle_workers=totals[Field.IDLE_WORKERS],
        oldest_unstored_seconds=round(max(0.0, time.time() - oldest / 1e6), 3) if oldest else 0,
        held_bytes=totals[Field.HELD_BYTES],
        durability=state().settings.durability,
    )
