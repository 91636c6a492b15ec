"""A request's bytes become payload lines, checked but never built into objects.

msgspec checks the grammar while it slices; it leaves UTF-8 and repeated members to us. Knows no
Flask and no pipeline.
"""

import codecs
import io
from functools import lru_cache
from typing import Final

import msgspec
from marshmallow import Schema

from app.http.problems import NotJson, UnsupportedType, WrongShape
from app.ingest.formats.collection import PART_BYTES, Collection, Reader, check_commas, raise_any
from app.ingest.formats.json_format import read_json
from app.ingest.formats.ndjson_format import read_ndjson
from app.ingest.formats.schemas import validate_payloads
from app.ingest.formats.surrogates import Masked

ACCEPT: Final = "application/json, application/x-ndjson"


def decode(body: bytes, *, content_type: str, schema: Schema | None = None) -> Collection:
    """Decode and check a request's body: all of it, or nothing. Does not block.

    JSON (RFC 8259) is an array of objects, or an object with `payloads` or `data`; NDJSON is an
    object a line, blank lines skipped. Numbers and strings stay byte for byte as they were sent.
    `schema`, if there is one, validates every payload.

    Raises:
        UnsupportedType: `content_type` is missing or none of ours.
        NotJson: the body is not JSON, not UTF-8, or nested more deeply than Python's stack.
        WrongShape: it is no collection, or holds no payload, or some that are no objects or that
            `schema` refuses; `errors` names each.
        TooLarge: it has more values than can be looked at in bounded memory.
    """
    reader = _reader(content_type)
    body = check_utf8(body)
    if reader is read_json or schema is not None:
        check_commas(body)
    return validate(read(reader, body), schema)


def read(reader: Reader, body: bytes) -> Collection:
    """Read a body of valid UTF-8, lone surrogates too.

    Raises:
        NotJson, WrongShape: see `decode`.
    """
    try:
        return _read(reader, body)
    except (NotJson, WrongShape):
        masked = Masked.of(body)
        if masked is None:
            raise
        return masked.read(lambda body: _read(reader, body))


def validate(collection: Collection, schema: Schema | None) -> Collection:
    """Return the collection if its payloads follow the schema, or there is none.

    Raises:
        WrongShape: some do not; `errors` names each.
    """
    if schema is not None:
        found = validate_payloads(schema, io.BytesIO(collection.lines), at=collection.at)
        raise_any(WrongShape, "Payloads do not follow the schema.", found)
    return collection


def _read(reader: Reader, body: bytes) -> Collection:
    try:
        collection = reader(body)
    except RecursionError:
        raise NotJson("The body is nested too deeply.") from None
    except msgspec.DecodeError as error:
        if not body.strip():
            raise NotJson("The body is empty.") from None
        # the message holds a byte offset where there is one, and nothing of the body
        raise NotJson(f"{error}.") from error
    if not collection.count:
        raise WrongShape("There are no payloads.")
    return collection


def check_utf8(body: bytes) -> bytes:
    """Return a body of valid UTF-8 without its byte order mark.

    RFC 8259 section 8.1: JSON on the wire is UTF-8, and a parser may ignore a byte order mark.
    Checked part by part, as the whole as a string could take four times the body.

    Raises:
        NotJson: it is not UTF-8.
    """
    if body.isascii():
        return body
    view, done = memoryview(body), 0
    while done < len(body):
        end = done + PART_BYTES
        try:
            done += codecs.utf_8_decode(view[done:end], "strict", end >= len(body))[1]
        except UnicodeDecodeError as error:
            raise NotJson(f"The body is not UTF-8 (byte {done + error.start}).") from None
    return body.removeprefix(codecs.BOM_UTF8)


_MEDIA_TYPES: Final[dict[str, Reader]] = {
    "application/json": read_json,
    "application/x-ndjson": read_ndjson,
    "application/ndjson": read_ndjson,
    "application/jsonl": read_ndjson,
}


@lru_cache(maxsize=64)
def _reader(content_type: str) -> Reader:
    """Choose by media type. Parameters mean nothing: RFC 8259 section 11 defines no charset."""
    media_type = content_type.partition(";")[0].strip().lower()
    read = _MEDIA_TYPES.get(media_type)
    if read is None:
        raise UnsupportedType(
            f"The Content-Type must be one of {ACCEPT}.", headers={"Accept": ACCEPT}
        )
    return read
