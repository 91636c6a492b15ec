"""`GET /receipts/<id>`: what became of a receipt's payloads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from flask import Blueprint, Response

from app.http.problems import Problem, Unavailable
from app.state import state
from workers.errors import StoreError
from workers.operate.receipts import UnknownReceipt
from workers.pipeline import Pipeline

blueprint = Blueprint("receipts", __name__)

PLACE_SECONDS = 0.2


# Look-ups that wait for S3 may take this many of the threads that payloads come in by.
_places = threading.BoundedSemaphore(2)


@contextmanager
def _place(pipeline: Pipeline) -> Iterator[None]:
    if not _places.acquire(timeout=PLACE_SECONDS):
        detail = "Other receipts are being looked up, and S3 is slow."
        raise Unavailable(detail, retry_after=pipeline.retry_after())
    try:
        yield
    finally:
        _places.release()


@blueprint.get("/receipts/<id>")
def show(id: str) -> Response:
    """Tell a receipt's state; the same from every process and machine."""
    pipeline = state().pipeline()
    try:
        claim = pipeline.receipts.claim(id)
        status = pipeline.receipts.local_status(claim)
        if status is None:
            # Only what has to ask S3 waits for a place.
            with _place(pipeline):
                status = pipeline.receipts.stored_status(claim)
    except UnknownReceipt as error:
        raise Problem("There is no such receipt.", status=404) from error
    except StoreError as error:
        raise Unavailable(
            "Not known here, and S3 does not answer.", retry_after=pipeline.retry_after()
        ) from error
    return Response(msgspec.json.encode(status), mimetype="application/json")
