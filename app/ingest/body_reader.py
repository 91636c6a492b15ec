"""From a body to a collection: its encoding undone, read as its way says, made into lines.

Knows no pipeline and no HTTP layer. Nothing here blocks but a claim on a key, briefly.
"""

import json
from datetime import UTC, datetime

import msgspec

from app.access.rules import Webhook
from app.http.content_encoding import inflate
from app.http.responses import Answer
from app.ingest.arrival import Arrival
from app.ingest.formats.collection import Collection, check_growth
from app.ingest.formats.decoding import decode
from app.ingest.formats.rejected import Rejected
from app.ingest.formats.schemas import load_payload_schema
from app.ingest.idempotency import IdempotentRequest
from app.ingest.readers import read_endpoint_body, read_events, read_webhook
from app.logs import request_id
from workers.settings.settings import Settings

# LINE_FORMAT=envelope may make a body this many times as large, and no more.
MAX_ENVELOPE_GROWTH = 2
# Those of webhooks and endpoints may always make as much of a body.
MIN_ENVELOPED_BYTES = 1 << 20
_encode = msgspec.json.Encoder().encode


class BodyReader:
    """Reads bodies. Safe to share between threads.

    An idempotency key is claimed once the body is decoded, and before it is read.
    """

    def __init__(self, settings: Settings) -> None:
        """Load the schema of payloads, if there is one.

        Raises:
            SettingsError: `PAYLOAD_SCHEMA` names none.
        """
        path = settings.payload_schema
        self.schema = load_payload_schema(path) if path else None
        self._settings = settings
        self._max_lines_bytes = settings.max_body_bytes * MAX_ENVELOPE_GROWTH
        self._enveloped_bytes = max(MIN_ENVELOPED_BYTES, self._max_lines_bytes)

    def read(
        self,
        arrival: Arrival,
        body: bytes,
        coding: str,
        rejected: Rejected | None,
        *,
        keyed: IdempotentRequest | None = None,
    ) -> Collection | Answer:
        """Read a body that arrived in any of the ways; an `Answer` instead is no acceptance.

        Raises:
            Replayed: its key is accepted already.
            Problem: the response instead.
        """
        way = arrival.way
        arrival.check_origin()
        if way.webhook is not None:
            return self._read_webhook(arrival, way.webhook, body, coding, keyed=keyed)
        arrival.check_body_key(body)
        body = self.inflate(body, coding)
        if keyed is not None and arrival.key is not None:
            keyed.caller = arrival.key.name
        if not way.is_events and way.endpoint is None:
            return self.decode(way.stream, body, arrival.content_type, rejected, keyed=keyed)
        if keyed is not None and rejected is None:
            keyed.begin(body)
        if way.endpoint is None:
            collection = read_events(body, head=arrival.head, schema=self.schema, rejected=rejected)
        else:
            collection = read_endpoint_body(
                body,
                endpoint=way.endpoint,
                schema=self.schema,
                limit=self._enveloped_bytes,
                rejected=rejected,
            )
        if keyed is not None and rejected is not None:
            keyed.begin(body)
        return self._as_lines(way.stream, collection)

    def _read_webhook(
        self,
        arrival: Arrival,
        webhook: Webhook,
        body: bytes,
        coding: str,
        *,
        keyed: IdempotentRequest | None,
    ) -> Collection | Answer:
        found = read_webhook(
            body,
            webhook=webhook,
            head=arrival.head,
            inflate=lambda raw: self.inflate(raw, coding),
            limit=self._enveloped_bytes,
        )
        if keyed is not None and not isinstance(found, Answer):
            keyed.begin_delivery(found, body, source=webhook.source)
        return found

    def decode(
        self,
        stream: str,
        body: bytes,
        kind: str,
        rejected: Rejected | None,
        *,
        keyed: IdempotentRequest | None = None,
    ) -> Collection:
        """Read the decoded body of a POST to `/payloads`, of the media type `kind`.

        Raises:
            Replayed, Problem: as `read`.
        """
        # An answer that lists what was rejected needs a look at all of it first.
        if keyed is not None and rejected is None:
            keyed.begin(body)
        found = decode(body, content_type=kind, schema=self.schema, rejected=rejected)
        if keyed is not None and rejected is not None:
            keyed.begin(body)
        return self._as_lines(stream, found)

    def inflate(self, body: bytes, coding: str) -> bytes:
        """Undo a body's encoding.

        Raises:
            Problem: it is none, or the body is too large.
        """
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
