"""What happens to a POST: undo its encoding, check it, hand it to the pipeline, say where it went.

Knows no Flask, so that any HTTP layer can stand in front of it and answer the same bytes.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime

import msgspec

from app.bodies import inflate
from app.decoding import Collection, decode
from app.logs import request_id
from app.problems import Problem, TooLarge, Unavailable
from app.schemas import load_payload_schema
from workers.errors import Refusal, TooManyPayloads
from workers.keys import STREAM
from workers.pipeline import Pipeline
from workers.segment import Receipt
from workers.settings import Settings

# A body beyond this is decoded alone: decoding takes several times its size for a moment.
LARGE_BODY_BYTES = 1 << 20
_encode = msgspec.json.Encoder().encode


class ReceiptAnswer(msgspec.Struct):
    """One receipt in a 202. Lines count from 1."""

    id: str
    object: str
    first_line: int
    count: int


class Accepted(msgspec.Struct):
    """The body of a 202."""

    accepted: int
    durability: str
    receipts: list[ReceiptAnswer]

    def encode(self) -> bytes:
        """Return the JSON document."""
        return _encode(self)


class FrontDoor:
    """Accepts collections. Safe to share between threads."""

    def __init__(self, settings: Settings, *, pipeline: Callable[[], Pipeline]) -> None:
        self._settings = settings
        self._pipeline = pipeline
        path = settings.payload_schema
        self._schema = load_payload_schema(path) if path else None
        self._large = threading.Lock()

    def accept(
        self, stream: str, body: bytes, *, content_type: str, content_encoding: str
    ) -> Accepted:
        """Take one request's body; blocks until it is as safe as `DURABILITY` promises.

        Raises:
            Problem: what the client is told instead. Nothing was kept.
        """
        if not STREAM.fullmatch(stream):
            raise Problem("A stream's name is 1 to 64 of a-z 0-9 _ -.", status=404)
        with self._turn(body, content_encoding):
            plain = inflate(
                body, encoding=content_encoding, limit=self._settings.max_body_bytes
            )
            collection = decode(plain, content_type=content_type, schema=self._schema)
            del plain
            lines = self._lines(stream, collection)
        pipeline = self._pipeline()
        try:
            receipts = pipeline.accept(stream, lines, count=collection.count)
        except Refusal as refusal:
            raise self._problem(refusal, pipeline) from refusal
        return self._accepted(receipts, pipeline)

    def _turn(self, body: bytes, encoding: str) -> AbstractContextManager[object]:
        large = len(body) > LARGE_BODY_BYTES or encoding not in ("", "identity")
        return self._large if large else nullcontext()

    def _lines(self, stream: str, collection: Collection) -> bytes:
        if self._settings.line_format == "payload":
            return collection.lines
        envelope = {
            "received_at": datetime.now(UTC).isoformat(timespec="microseconds"),
            "stream": stream,
            "version": collection.version,
            "request_id": request_id.get(),
        }
        opening = _encode(envelope)[:-1] + b',"payload":'
        return opening + collection.lines[:-1].replace(b"\n", b"}\n" + opening) + b"}\n"

    def _accepted(self, receipts: list[Receipt], pipeline: Pipeline) -> Accepted:
        return Accepted(
            accepted=sum(receipt.count for receipt in receipts),
            durability=self._settings.durability,
            receipts=[
                ReceiptAnswer(
                    id=pipeline.receipts.issue(receipt),
                    object=f"s3://{receipt.header.bucket}/{receipt.header.key}",
                    first_line=receipt.first_line,
                    count=receipt.count,
                )
                for receipt in receipts
            ],
        )

    def _problem(self, refusal: Refusal, pipeline: Pipeline) -> Problem:
        if isinstance(refusal, TooManyPayloads):
            return TooLarge(str(refusal))
        return Unavailable(f"Not accepted: {refusal}.", retry_after=pipeline.retry_after())
