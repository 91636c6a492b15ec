"""What happens to a POST: undo its encoding, check it, hand it to the pipeline, say where it went.

Knows no Flask: every HTTP layer answers the same bytes.
"""

import contextlib
import json
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec

from app.http.content_encoding import inflate
from app.http.problems import NotConfirmed, Problem, TooLarge, Unavailable
from app.http.responses import Answer
from app.ingest.accepted import AcceptedAnswers
from app.ingest.arrival import Arrival
from app.ingest.formats.collection import Collection, check_growth
from app.ingest.formats.decoding import decode
from app.ingest.formats.rejected import Rejected
from app.ingest.formats.schemas import load_payload_schema
from app.ingest.preferences import MAX_WAIT_SECONDS, Preferences, preferences_of
from app.ingest.readers import read_endpoint_body, read_events, read_webhook
from app.logs import request_id
from workers import errors
from workers.errors import Refusal, TooManyPayloads
from workers.pipeline import Pipeline
from workers.segments.finish import Finish
from workers.segments.future import Callback, DurabilityFuture
from workers.segments.partitioner import Partitioner
from workers.segments.partitions import Part
from workers.settings import Settings

log = logging.getLogger(__name__)

# A larger body is decoded in a thread of its own, one at a time: that takes several times its size
# for a moment.
SMALL_BODY_BYTES = 1 << 18
# LINE_FORMAT=envelope may make a body this many times as large, and no more.
MAX_ENVELOPE_GROWTH = 2
# Those of webhooks and endpoints may always make as much of a body.
MIN_ENVELOPED_BYTES = 1 << 20
_encode = msgspec.json.Encoder().encode


class IngestHandler:
    """Accepts collections. Safe to share between threads."""

    def __init__(self, settings: Settings, *, pipeline: Callable[[], Pipeline]) -> None:
        self._settings = settings
        self._pipeline = pipeline
        path = settings.payload_schema
        self.schema = load_payload_schema(path) if path else None
        self._max_lines_bytes = settings.max_body_bytes * MAX_ENVELOPE_GROWTH
        self._enveloped_bytes = max(MIN_ENVELOPED_BYTES, self._max_lines_bytes)
        self._partitioner = Partitioner.of(settings)
        self._decoding_large = threading.Lock()
        self._accepted = AcceptedAnswers(
            durability=settings.durability,
            # The pipeline may be started later.
            issuer=lambda header: pipeline().receipts.issuer(header),  # noqa: PLW0108
        )
        # Other servers' threads may be cut off some time after the body is to have come.
        self._max_blocking_wait = min(MAX_WAIT_SECONDS, int(settings.request_seconds * 0.9))
        # Decoded here and now if it stays as small as this.
        self.small_bytes = min(SMALL_BODY_BYTES, settings.max_body_bytes)

    @property
    def validates(self) -> bool:
        """Whether every payload is validated by a schema, which takes its time."""
        return self.schema is not None

    def accept(
        self, arrival: Arrival, body: bytes, *, content_encoding: str, prefer: str = ""
    ) -> Answer:
        """Take one body; blocks until it is durable, and longer where the header `prefer` says so.

        Raises:
            Problem: the response instead. Nothing was kept.
        """
        preferences = preferences_of(arrival, prefer, max_wait=self._max_blocking_wait)
        done: queue.SimpleQueue[DurabilityFuture] = queue.SimpleQueue()
        taken = self.take_arrival(
            arrival,
            body,
            content_encoding=content_encoding,
            callback=done.put if preferences is not None else None,
            preferences=preferences,
        )
        if isinstance(taken, Answer):
            return taken
        if preferences is not None:
            done.get()
        else:
            # Its exception is in the answer.
            with contextlib.suppress(Refusal):
                taken.result()
        return arrival.accepted(self.answer(taken, preferences))

    def take(
        self,
        stream: str,
        body: bytes,
        *,
        content_type: str,
        content_encoding: str = "",
        callback: Callback | None = None,
        preferences: Preferences | None = None,
    ) -> DurabilityFuture:
        """Take one body for a stream of a valid name; it has its `answer` once its future is done.

        Blocks only while another large body is decoded.

        Raises:
            Problem: the response instead. Nothing was kept.
        """
        rejected = preferences.rejected if preferences else None
        if content_encoding or len(body) > SMALL_BODY_BYTES:
            with self._decoding_large:
                body = self._inflate(body, content_encoding)
                collection = self._decode(stream, body, content_type, rejected)
        else:
            body = self._inflate(body, "")
            collection = self._decode(stream, body, content_type, rejected)
        return self._hand_over(stream, collection, callback, preferences)

    def take_arrival(
        self,
        arrival: Arrival,
        body: bytes,
        *,
        content_encoding: str = "",
        callback: Callback | None = None,
        preferences: Preferences | None = None,
    ) -> DurabilityFuture | Answer:
        """Take one body that arrived in any of the ways; an `Answer` instead is no acceptance.

        Blocks only while another large body is decoded.

        Raises:
            Problem: the response instead. Nothing was kept.
        """
        large = bool(content_encoding) or len(body) > SMALL_BODY_BYTES
        with self._decoding_large if large else contextlib.nullcontext():
            rejected = preferences.rejected if preferences else None
            collection = self._read(arrival, body, content_encoding, rejected)
        if isinstance(collection, Answer):
            return collection
        return self._hand_over(arrival.way.stream, collection, callback, preferences)

    def answer(self, future: DurabilityFuture, preferences: Preferences | None = None) -> Answer:
        """Return the response to a collection whose future is done.

        Raises:
            Problem: the response instead. Nothing was kept.
        """
        if future.exception is not None:
            raise self.problem(future.exception) from future.exception
        if preferences is not None:
            return self._accepted.preferred(future.runs, preferences)
        return self._accepted.answer(future.runs)

    def _hand_over(
        self,
        stream: str,
        collection: Collection,
        callback: Callback | None,
        preferences: Preferences | None = None,
    ) -> DurabilityFuture:
        lines, count = collection.lines, collection.count
        try:
            if preferences is not None and preferences.wait is not None and callback is not None:
                parts = self._parts(stream, collection)
                future = self._take_and_wait(parts, callback, preferences)
            elif self._partitioner is None:
                future = self._pipeline().take(stream, lines, count=count, callback=callback)
            else:
                parts = self._parts(stream, collection)
                if len(parts) == 1:
                    place = parts[0].partition
                    future = self._pipeline().take(place, lines, count=count, callback=callback)
                else:
                    future = self._pipeline().take_parts(parts, callback=callback)
        except Refusal as refusal:
            raise self.problem(refusal) from refusal
        if log.isEnabledFor(logging.DEBUG):
            log.debug("accepted", extra={"stream": stream, "payloads": count})
        return future

    def _parts(self, stream: str, collection: Collection) -> Sequence[Part]:
        lines, count = collection.lines, collection.count
        if self._partitioner is None:
            return [Part(stream, lines, count)]
        return self._partitioner.split(stream, lines, count=count, wrapped=collection.wrapped)

    def _take_and_wait(
        self, parts: Sequence[Part], callback: Callback, preferences: Preferences
    ) -> DurabilityFuture:
        def settled(future: DurabilityFuture, finish: Finish) -> None:
            preferences.finish = finish
            callback(future)

        return self._pipeline().take_and_wait(
            parts, seconds=preferences.wait or 0, callback=settled
        )

    def problem(self, refusal: Refusal) -> Problem:
        """Return the response to a collection that the pipeline refused."""
        if isinstance(refusal, TooManyPayloads):
            return TooLarge(str(refusal))
        if isinstance(refusal, errors.UnknownStream):
            return Problem(f"Not accepted: {refusal}.", status=404)
        retry_after = self._pipeline().retry_after()
        if isinstance(refusal, errors.NotConfirmed):
            return NotConfirmed(f"Not confirmed: {refusal}.", retry_after=retry_after)
        return Unavailable(f"Not accepted: {refusal}.", retry_after=retry_after)

    def _read(
        self, arrival: Arrival, body: bytes, coding: str, rejected: Rejected | None
    ) -> Collection | Answer:
        way, schema = arrival.way, self.schema
        arrival.check_origin()
        if way.webhook is not None:
            return read_webhook(
                body,
                webhook=way.webhook,
                head=arrival.head,
                inflate=lambda raw: self._inflate(raw, coding),
                limit=self._enveloped_bytes,
            )
        arrival.check_body_key(body)
        body = self._inflate(body, coding)
        if way.is_events:
            collection = read_events(body, head=arrival.head, schema=schema, rejected=rejected)
        elif way.endpoint is not None:
            collection = read_endpoint_body(
                body,
                endpoint=way.endpoint,
                schema=schema,
                limit=self._enveloped_bytes,
                rejected=rejected,
            )
        else:
            return self._decode(way.stream, body, arrival.content_type, rejected)
        return self._as_lines(way.stream, collection)

    def _decode(self, stream: str, body: bytes, kind: str, rejected: Rejected | None) -> Collection:
        found = decode(body, content_type=kind, schema=self.schema, rejected=rejected)
        return self._as_lines(stream, found)

    def _inflate(self, body: bytes, coding: str) -> bytes:
        if not coding and len(body) <= self._settings.max_body_bytes:
            return body
        return inflate(body, encoding=coding, limit=self._settings.max_body_bytes)

    def _as_lines(self, stream: str, collection: Collection) -> Collection:
        if self._settings.line_format == "payload":
            return collection
        lines, wrapped = self._envelopes(stream, collection), collection.wrapped + 1
        return msgspec.structs.replace(collection, lines=lines, wrapped=wrapped)

    def _envelopes(self, stream: str, collection: Collection) -> bytes:
        envelope = {
            "received_at": datetime.now(UTC).isoformat(timespec="microseconds"),
            "stream": stream,
            "version": collection.version,
            "request_id": request_id.get(),
        }
        opening = _encoded(envelope)[:-1] + b',"payload":'
        size = len(collection.lines) + collection.count * len(opening)
        check_growth(size, limit=self._max_lines_bytes)
        return opening + collection.lines[:-1].replace(b"\n", b"}\n" + opening) + b"}\n"


def _encoded(envelope: dict[str, str | None]) -> bytes:
    try:
        return _encode(envelope)
    except UnicodeEncodeError:
        # a lone surrogate in the version
        return json.dumps(envelope, separators=(",", ":")).encode()
