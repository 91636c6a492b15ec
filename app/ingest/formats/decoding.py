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

from app.http.problems import NotJson, UnsupportedType, WrongShape, pointer
from app.ingest.formats.collection import PART_BYTES, Collection, Reader, check_commas, raise_any
from app.ingest.formats.json_format import read_json
from app.ingest.formats.ndjson_format import read_ndjson
from app.ingest.formats.rejected import Rejected, TooManyRejected
from app.ingest.formats.schemas import complaints, faults, validate_payloads
from app.ingest.formats.surrogates import Masked

REFUSED: Final = "Payloads do not follow the schema."
ACCEPT: Final = "application/json, application/x-ndjson"


def decode(
    body: bytes,
    *,
    content_type: str,
    schema: Schema | None = None,
    rejected: Rejected | None = None,
) -> Collection:
    """Decode and check a request's body: all of it, or nothing. Does not block.

    JSON (RFC 8259) is an array of objects, or an object with `payloads` or `data`; NDJSON is an
    object a line, blank lines skipped. Numbers and strings stay byte for byte as they were sent.
    `schema`, if there is one, validates every payload. With `rejected` payloads with faults of
    their own are left out, and those faults added to it.

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
    if rejected is not None:
        return read_leniently(reader, body, schema=schema, rejected=rejected)
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
        lines = io.BytesIO(collection.lines)
        found = validate_payloads(schema, lines, at=collection.at, wrapped=collection.wrapped)
        raise_any(WrongShape, REFUSED, found)
    return collection


def read_leniently(
    reader: Reader, body: bytes, *, schema: Schema | None, rejected: Rejected
) -> Collection:
    """Read a body, leaving out payloads that have faults of their own.

    Raises:
        NotJson, WrongShape: see `decode`: none is without a fault, there are more faults than are
            listed, or the fault is the request's; then nothing is `rejected`.
    """
    try:
        return validate(read(reader, body), schema)
    except (NotJson, WrongShape) as strict:
        try:
            masked = Masked.of(body)
            if masked is None:
                found = _read(reader, body, rejected)
            else:
                found = masked.read(lambda body: _read(reader, body, rejected))
            return _only_valid(found, schema, rejected)
        except (NotJson, WrongShape, TooManyRejected):
            rejected.clear()
            raise strict from None


def _only_valid(collection: Collection, schema: Schema | None, rejected: Rejected) -> Collection:
    """Return the payloads that follow the schema; the others are rejected."""
    if schema is None:
        return collection
    originals, refused = rejected.originals(collection.count), set()
    lines = io.BytesIO(collection.lines)
    for index, found in complaints(schema, lines, wrapped=collection.wrapped):
        refused.add(index)
        original = originals[index]
        rejected.add(original, faults(found, at=collection.at + pointer(original)))
    if len(refused) == collection.count:
        raise WrongShape(REFUSED)
    lines.seek(0)
    kept = b"".join([line for index, line in enumerate(lines) if index not in refused])
    return msgspec.structs.replace(collection, lines=kept, count=collection.count - len(refused))


def _read(reader: Reader, body: bytes, rejected: Rejected | None = None) -> Collection:
    try:
        collection = reader(body, rejected)
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


LINES: Final = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
_MEDIA_TYPES: Final[dict[str, Reader]] = {
    "application/json": read_json,
    **dict.fromkeys(LINES, read_ndjson),
}


def media_type_of(content_type: str) -> str:
    """Return a Content-Type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


@lru_cache(maxsize=64)
def _reader(content_type: str) -> Reader:
    """Choose by media type. Parameters mean nothing: RFC 8259 section 11 defines no charset."""
    media_type = media_type_of(content_type)
    read = _MEDIA_TYPES.get(media_type)
    if read is None:
        raise UnsupportedType(
            f"The Content-Type must be one of {ACCEPT}.", headers={"Accept": ACCEPT}
        )
    return read
