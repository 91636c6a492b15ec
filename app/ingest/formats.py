"""The hot path: a request's bytes become payload lines, checked but never built into objects.

msgspec checks the grammar while it slices; it leaves UTF-8 and repeated members to us. What is odd
is refused whole, by a slower road that names every fault. Knows no Flask and no pipeline.
"""

import codecs
import io
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from marshmallow import Schema
from msgspec import UNSET, Meta, Raw, UnsetType

from app.http.problems import Fault, NotJson, TooLarge, UnsupportedType, WrongShape, pointer
from app.ingest.schemas import MAX_TOKEN, MAX_VERSION, EnvelopeSchema, faults, validate_payloads

ACCEPT: Final = "application/json, application/x-ndjson"
# Of a large body a part at a time is a list of lines, or a string
PART_BYTES: Final = 256 << 10
# A value that is not the first of its array or object follows a comma, and a sliced value costs 70
# bytes beside its own: 16 MiB of `1,1,1,...` would cost 560 MB, this many cost 74 MB
MAX_COMMAS: Final = 1 << 20
# `join` asks for another 80 bytes for each payload that it joins
JOINED_AT_ONCE: Final = 10_000
MAX_MEMBERS: Final = 100
_SPACE: Final = b" \t\r\n"
_BRACE: Final = {ord("{")}
_NOTHING: Final = Raw(b"")
# typeshed's memoryview is generic, which `map` cannot see through
_view: Final[Callable[[Raw], "memoryview[int]"]] = memoryview


class Collection(msgspec.Struct, frozen=True, gc=False):
    """What one POST carried; a msgspec.Struct, as a frozen dataclass takes five times as long.

    `lines` holds each payload followed by a newline, and no other newline; `count` says how many.
    `at` is the JSON pointer to the client's array, for faults that are found later.
    """

    lines: bytes
    count: int
    at: str = ""
    version: str | None = None
    token: str | None = None


_Text: TypeAlias = str | UnsetType | None
_Reader: TypeAlias = Callable[[bytes], Collection]


class _Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """`EnvelopeSchema` as msgspec checks it: a quick gate. What it refuses, the schema explains."""

    payloads: list[Raw] | UnsetType = UNSET
    data: list[Raw] | UnsetType = UNSET
    version: Annotated[str, Meta(max_length=MAX_VERSION)] | UnsetType | None = UNSET
    token: Annotated[str, Meta(max_length=MAX_TOKEN)] | UnsetType | None = UNSET


class _Object(msgspec.Struct, gc=False):
    """Any JSON object: its members are checked as JSON, and skipped."""


class _Name:
    """A member's name as a key equal to no other, so that a dict keeps repeated members."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


_value = msgspec.json.Decoder(Raw).decode
_array = msgspec.json.Decoder(list[Raw]).decode
_object = msgspec.json.Decoder(_Object).decode
_envelope = msgspec.json.Decoder(_Envelope).decode
_envelope_schema = EnvelopeSchema()


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
    read = _reader(content_type)
    if not body.isascii():
        body = _check_utf8(body)
    if len(body) > MAX_COMMAS and (read is _read_json or schema is not None):
        _check_commas(body)
    collection = _read(read, body)
    if schema is not None:
        found = validate_payloads(schema, io.BytesIO(collection.lines), at=collection.at)
        _raise_any(WrongShape, "Payloads do not follow the schema.", found)
    return collection


def _check_commas(body: bytes) -> None:
    if body.count(b",") > MAX_COMMAS:
        raise TooLarge(f"The body has more than {MAX_COMMAS} commas: send less at once.")


def _read(read: _Reader, body: bytes) -> Collection:
    try:
        collection = read(body)
    except RecursionError:
        raise NotJson("The body is nested too deeply.") from None
    except msgspec.DecodeError as error:
        # the message holds a byte offset where there is one, and nothing of the body
        raise NotJson(f"{error}.") from error
    if not collection.count:
        raise WrongShape("There are no payloads.")
    return collection


def _raise_any(
    problem: type[NotJson] | type[WrongShape], detail: str, found: Iterator[Fault]
) -> None:
    """Raise `problem` if there is any fault, without holding them all in memory."""
    first = next(found, None)
    if first is not None:
        raise problem(detail, errors=chain([first], found))


def _check_utf8(body: bytes) -> bytes:
    """Check part by part, as the whole as a string could take four times the body; drop a BOM.

    RFC 8259 section 8.1: JSON on the wire is UTF-8, and a parser may ignore a byte order mark.
    """
    view, done = memoryview(body), 0
    while done < len(body):
        end = done + PART_BYTES
        try:
            done += codecs.utf_8_decode(view[done:end], "strict", end >= len(body))[1]
        except UnicodeDecodeError as error:
            raise NotJson(f"The body is not UTF-8 (byte {done + error.start}).") from None
    return body.removeprefix(codecs.BOM_UTF8)


# JSON: a bare array, or an envelope around one


def _read_json(body: bytes) -> Collection:
    body = body.rstrip(_SPACE)
    if b"\n" in body or b"\r" in body:
        # They are layout, as JSON forbids them in strings, but may only go once that is checked:
        # `format` does both, and touches no number and no string.
        body = msgspec.json.format(body, indent=-1)
    start = body.lstrip(_SPACE)[:1]
    if start == b"{":
        return _read_envelope(body)
    if start == b"[":
        payloads = _array(body)
        return Collection(_join(payloads, at=""), len(payloads))
    _value(body)
    raise WrongShape("Must be an array of objects, or an object with `payloads`.")


def _read_envelope(body: bytes) -> Collection:
    try:
        envelope = _envelope(body)
    except msgspec.ValidationError:
        raise _explain(body) from None
    version, token = envelope.version, envelope.token
    if envelope.data is UNSET and envelope.payloads is not UNSET:
        name, payloads = "payloads", envelope.payloads
    elif envelope.payloads is UNSET and envelope.data is not UNSET:
        name, payloads = "data", envelope.data
    else:
        raise _explain(body)
    at = "/" + name
    lines = _join(payloads, at=at)
    # msgspec keeps the last of repeated members. None can hide in a body that is just as long as
    # what was kept, written as tightly as can be; any other body has its names looked at.
    least = len(name) + len('{"":[]}') + max(len(lines) - 1, 0)
    least += _least("version", version) + _least("token", token)
    if least != len(body) and _repeated(_members(body)):
        raise _explain(body)
    return Collection(
        lines,
        len(payloads),
        at,
        None if version is UNSET else version,
        None if token is UNSET else token,
    )


def _join(payloads: list[Raw], *, at: str) -> bytes:
    """Return the payloads as lines."""
    if not _BRACE.issuperset(map(itemgetter(0), map(_view, payloads))):
        _raise_any(WrongShape, "Payloads must be objects.", _not_objects(payloads, at=at))
    if len(payloads) <= JOINED_AT_ONCE:
        return b"\n".join([*payloads, _NOTHING])
    starts = range(0, len(payloads), JOINED_AT_ONCE)
    return b"".join([_join(payloads[i : i + JOINED_AT_ONCE], at=at) for i in starts])


def _not_objects(payloads: list[Raw], *, at: str) -> Iterator[Fault]:
    for index, payload in enumerate(payloads):
        if _view(payload)[0] not in _BRACE:
            yield Fault(at + pointer(index), "Must be an object.")


def _least(name: str, value: _Text) -> int:
    """Return the fewest bytes this member can take in an envelope, with its comma."""
    if value is UNSET:
        return 0
    return len(name) + len(',"":') + (len("null") if value is None else len(value.encode()) + 2)


def _members(body: bytes) -> list[tuple[str, Raw]]:
    """Return the envelope's members in order, repeated ones too, names unescaped."""
    names: list[_Name] = []

    def keep(_: type, text: str) -> _Name:
        if len(names) == MAX_MEMBERS:
            raise WrongShape("The envelope has too many members.")
        names.append(_Name(text))
        return names[-1]

    members = msgspec.json.Decoder(dict[_Name, Raw], dec_hook=keep).decode(body)
    return [(name.text, value) for name, value in members.items()]


def _repeated(members: list[tuple[str, Raw]]) -> list[str]:
    names = [name for name, _ in members]
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def _explain(body: bytes) -> WrongShape:
    """Return what is wrong with an envelope. What is not even JSON raises msgspec.DecodeError."""
    members = _members(body)
    twice = [Fault(pointer(name), "Must not be repeated.") for name in _repeated(members)]
    found = _envelope_schema.validate({name: _shape(value) for name, value in members})
    return WrongShape("The body is no collection of payloads.", errors=chain(twice, faults(found)))


def _shape(value: Raw) -> Any:
    """Build as much of a member as `EnvelopeSchema` looks at; a Raw is what no field accepts."""
    match _view(value)[:1].tobytes():
        case b'"' | b"n":
            return msgspec.json.decode(value)
        case b"[":
            return []
    return value


# NDJSON: an object a line


def _read_ndjson(body: bytes) -> Collection:
    done, count = [], 0
    for part in _parts(body):
        lines = list(filter(bytes.strip, part.split(b"\n")))
        try:
            list(map(_object, lines))
        except (msgspec.DecodeError, RecursionError):
            _raise_any(NotJson, "Lines are not JSON.", _line_faults(body, _value))
            _raise_any(WrongShape, "Lines must be objects.", _line_faults(body, _object))
            raise
        count += len(lines)
        done.append(b"\n".join([*lines, b""]))
    joined = b"".join(done)
    # every line is checked by now, so a carriage return is layout
    return Collection(joined.translate(None, b"\r") if b"\r" in joined else joined, count)


def _parts(body: bytes) -> Iterator[bytes]:
    """Cut at newlines into parts of about `PART_BYTES`, as lines cost more memory apart."""
    start = 0
    while start < len(body):
        end = body.find(b"\n", start + PART_BYTES) + 1 or len(body)
        yield body[start:end]
        start = end


def _line_faults(body: bytes, check: Callable[[bytes], object]) -> Iterator[Fault]:
    for index, line in enumerate(filter(bytes.strip, io.BytesIO(body))):
        try:
            check(line)
        except RecursionError:
            yield Fault(pointer(index), "Nested too deeply.")
        except msgspec.DecodeError as error:
            yield Fault(pointer(index), f"{error}.")


_MEDIA_TYPES: Final[dict[str, _Reader]] = {
    "application/json": _read_json,
    "application/x-ndjson": _read_ndjson,
    "application/ndjson": _read_ndjson,
    "application/jsonl": _read_ndjson,
}


@lru_cache(maxsize=64)
def _reader(content_type: str) -> _Reader:
    """Choose by media type. Parameters mean nothing: RFC 8259 section 11 defines no charset."""
    media_type = content_type.partition(";")[0].strip().lower()
    read = _MEDIA_TYPES.get(media_type)
    if read is None:
        raise UnsupportedType(
            f"The Content-Type must be one of {ACCEPT}.", headers={"Accept": ACCEPT}
        )
    return read
