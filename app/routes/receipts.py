"""`GET /receipts/<id>`: what became of a receipt's payloads."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from flask import Blueprint, Response, g

from app.http.problems import Problem, Unavailable
from app.state import state
from workers.errors import StoreError, StoreUnavailable
from workers.operate.receipts import UnknownReceipt
from workers.settings.queue import is_sqs

blueprint = Blueprint("receipts", __name__)

# How many threads for receipts may wait for S3 at a time.
PLACES = 4
# How long one waits for a place; where S3 has kept another for longer than `SLOW_SECONDS`, not at
# all: a hundred that wait would keep those from their answer that S3 need not be asked for.
PLACE_SECONDS = 0.2
SLOW_SECONDS = 1.0


class Places:
    """Places for look-ups that ask S3. Thread-safe."""

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)
        # When each that has one took it, oldest first.
        self._taken: dict[object, float] = {}

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a place; blocks for `PLACE_SECONDS` at most.

        Raises:
            TimeoutError: there is none.
        """
        since = min(self._taken.copy().values(), default=math.inf)
        slow = time.monotonic() - since > SLOW_SECONDS
        if not self._free.acquire(timeout=0 if slow else PLACE_SECONDS):
            raise TimeoutError
        place = object()
        self._taken[place] = time.monotonic()
        try:
            yield
        finally:
            del self._taken[place]
            self._free.release()


_places = Places(PLACES)


@blueprint.get("/receipts/<id>")
def show(id: str) -> Response:
    """Tell a receipt's state; the same from every process and machine."""
    pipeline, gate = state().pipeline(), state().entrance.gate
    try:
        claim = pipeline.receipts.claim(id)
        if gate is not None:
            gate.check_receipt(g.key, claim.stream)
        status = pipeline.receipts.local_status(claim)
        if status is None:
            with _places.take():
                status = pipeline.receipts.stored_status(claim)
    except UnknownReceipt as error:
        raise Problem("There is no such receipt.", status=404) from error
    except TimeoutError as error:
        raise Unavailable(
            "S3 is slow, and other receipts are being looked up.",
            retry_after=pipeline.retry_after(),
        ) from error
    except StoreError as error:
        if not _is_denied(error):
            raise Unavailable(
                "Not known here, and S3 does not answer.", retry_after=pipeline.retry_after()
            ) from error
        # A web process that S3 denies is meant to have no credentials for it.
        if not is_sqs(state().settings.queue_url):
            raise Problem(
                "The queue knows this receipt no longer, and this process does not ask S3.",
                status=410,
            ) from error
        status = pipeline.receipts.accepted(claim, reason="SQS cannot be asked, nor S3 from here")
    return Response(msgspec.json.encode(status), mimetype="application/json")


def _is_denied(error: StoreError) -> bool:
    denied = isinstance(error, StoreUnavailable) and error.reason == "denied"
    return denied and state().settings.role == "web"
