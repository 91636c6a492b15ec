"""Reads the bodies of `/events`, webhooks and endpoints; `/payloads` is read by `formats`.

Knows no server and no pipeline. Nothing here blocks.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
from marshmallow import Schema

from app.access.credentials import Unauthorized
from app.access.rules import Endpoint, Webhook
from app.access.signatures import SCHEMES, BadSignature, Signed, verify
from app.http.problems import UnsupportedType
from app.http.responses import Answer
from app.ingest.formats.cloudevents import is_binary, read_binary
from app.ingest.formats.collection import Collection
from app.ingest.formats.decoding import (
    LINES,
    check_utf8,
    media_type_of,
    read,
    read_leniently,
    validate,
)
from app.ingest.formats.endpoint_format import read_endpoint
from app.ingest.formats.json_values import read_values
from app.ingest.formats.ndjson_format import read_ndjson
from app.ingest.formats.rejected import Rejected
from app.ingest.formats.webhook_lines import body_id, kept_headers, read_payloads, to_lines
from app.ingest.ways import RequestHead

ACCEPT: Final = "application/json, */*+json, application/x-ndjson, text/plain"
_LIKE_JSON: Final = frozenset({
    "", "text/plain", "application/json", "application/x-ndjson", "application/ndjson",
    "application/jsonl", "application/jsonlines", "application/json-seq", "text/json",
})  # fmt: skip
_challenge_type: Final = ("Content-Type", "text/plain; charset=utf-8")


class _Challenge(msgspec.Struct):
    """What Slack asks of a new endpoint."""

    type: str = ""
    challenge: str = ""


_as_challenge: Final = msgspec.json.Decoder(_Challenge).decode


def read_events(
    body: bytes, *, head: RequestHead, schema: Schema | None, rejected: Rejected | None = None
) -> Collection:
    """Read events in any JSON-like shape; with `rejected` those with faults are left out.

    Raises:
        UnsupportedType: the media type is nothing like JSON, and it is no CloudEvent.
        NotJson, WrongShape, BadRequest: as the formats say.
    """
    content_type = head.header("content-type") or ""
    names = [(name, value) for name, value in head.header_items() if name.startswith("ce-")]
    if is_binary([name for name, _ in names]):
        # One event: there is none to leave out.
        collection = read(
            lambda data, _=None: read_binary(data, content_type=content_type, headers=names), body
        )
    else:
        media_type = media_type_of(content_type)
        if media_type not in _LIKE_JSON and not media_type.endswith(("+json", "-batch+json")):
            raise UnsupportedType(
                f"The Content-Type must be like one of {ACCEPT}.", headers={"Accept": ACCEPT}
            )
        body = check_utf8(body)
        if media_type == "application/json-seq":
            # RFC 7464: a separator before each value, which can be in none.
            body = body.replace(b"\x1e", b"\n")
        if rejected is not None:
            # Where a line is a payload one that is no JSON can be left out, too.
            reader = read_ndjson if media_type in LINES else read_values
            return read_leniently(reader, body, schema=schema, rejected=rejected)
        collection = read(read_values, body)
    return validate(collection, schema)


def read_webhook(
    raw: bytes,
    *,
    webhook: Webhook,
    head: RequestHead,
    inflate: Callable[[bytes], bytes],
    limit: int,
    now: float | None = None,
) -> Collection | Answer:
    """Verify a webhook and read it; a sender's challenge is answered and not stored.

    `raw` is the body as it was sent, which is what senders sign; `inflate` undoes its encoding.
    The lines have `limit` bytes at most.

    Raises:
        Unauthorized: the signature is missing, wrong or too old.
        NotJson, WrongShape, BadRequest, UnsupportedType: the body is none of a webhook.
        TooLarge: it has too many payloads, or they become too large.
    """
    headers = dict(head.header_items())
    signed = Signed(headers=headers, body=raw, now=time.time() if now is None else now)
    try:
        delivery = verify(signed, webhook)
    except BadSignature as error:
        raise Unauthorized(str(error)) from error
    payloads = _payloads(inflate(raw), content_type=headers.get("content-type", ""))
    if webhook.scheme == "slack" and (challenge := _challenge_in(payloads[0])) is not None:
        return Answer(200, [_challenge_type], challenge.encode())
    scheme, identity = SCHEMES.get(webhook.scheme), delivery.id
    if scheme is not None and scheme.id_member is not None:
        identity = body_id(payloads[0], scheme.id_member)
    return to_lines(
        payloads,
        stream=webhook.stream,
        source=webhook.source,
        id=identity,
        headers=kept_headers(headers, (*webhook.headers, *webhook.kept_headers)),
        limit=limit,
    )


def read_endpoint_body(
    body: bytes,
    *,
    endpoint: Endpoint,
    schema: Schema | None,
    limit: int,
    rejected: Rejected | None = None,
) -> Collection:
    """Read the body of an endpoint; the lines have `limit` bytes at most.

    Raises:
        NotJson, WrongShape: the body is not JSON, or has no payloads where they should be.
        TooLarge: it has too many payloads, or they become too large.
    """
    reader = partial(
        read_endpoint,
        payloads=endpoint.payloads,
        key=endpoint.key,
        envelope=endpoint.envelope,
        limit=limit,
    )
    body = check_utf8(body)
    if rejected is not None:
        return read_leniently(reader, body, schema=schema, rejected=rejected)
    return validate(read(reader, body), schema)


def _payloads(body: bytes, *, content_type: str) -> list[bytes]:
    def as_lines(body: bytes, _: Rejected | None = None) -> Collection:
        found = read_payloads(body, content_type=content_type)
        return Collection(b"".join([each + b"\n" for each in found]), len(found))

    return read(as_lines, check_utf8(body)).lines[:-1].split(b"\n")


def _challenge_in(payload: bytes) -> str | None:
    try:
        found = _as_challenge(payload)
    except msgspec.DecodeError:
        return None
    return found.challenge if found.type == "url_verification" else None
