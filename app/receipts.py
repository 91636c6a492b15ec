"""`GET /receipts/<id>`: what became of a receipt's payloads."""

import msgspec
from flask import Blueprint, Response

from app.problems import Problem, Unavailable
from app.state import state
from workers.errors import StoreError
from workers.receipts import UnknownReceipt

blueprint = Blueprint("receipts", __name__)


@blueprint.get("/receipts/<id>")
def show(id: str) -> Response:
    """Tell a receipt's state; the same from every process and machine."""
    pipeline = state().pipeline()
    try:
        status = pipeline.receipts.look_up(id)
    except UnknownReceipt as error:
        raise Problem("There is no such receipt.", status=404) from error
    except StoreError as error:
        raise Unavailable(
            "Not known here, and S3 does not answer.", retry_after=pipeline.retry_after()
        ) from error
    return Response(msgspec.json.encode(status), mimetype="application/json")
