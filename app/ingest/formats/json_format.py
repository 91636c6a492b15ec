"""`application/json`: a bare array of objects, or an envelope around one.

msgspec checks the grammar while it slices; payloads are never built into Python objects. What its
quick gate refuses, `EnvelopeSchema` explains.
"""

from collections.abc import Callable
from itertools import chain
from operator import countOf
from struct import Struct
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from app.http.problems import Fault, WrongShape, pointer
from app.ingest.formats.collection import NOT_OBJECTS, Collection, only_objects
from app.ingest.formats.rejected import Rejected
from app.ingest.formats.schemas import MAX_TOKEN, MAX_VERSION, EnvelopeSchema, faults

# `join` asks for another 80 bytes for each payload that it joins
JOINED_AT_ONCE: Final = 10_000
MAX_MEMBERS: Final = 100
_SPACE: Final = b" \t\r\n"
_NEWLINE, _RETURN, _BRACE = ord("\n"), ord("\r"), ord("{")
# A payload's first byte, and what it has to be: a third of what a memoryview of each takes.
_first: Final = Struct("c").unpack_from
_OBJECT: Final = (b"{",)
_NOTHING: Final = Raw(b"")
# typeshed's memoryview is generic, which `map` cannot see through
_view: Final[Callable[[Raw], "memoryview[int]"]] = memoryview


class _Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """`EnvelopeSchema` as msgspec checks it: a quick gate. What it refuses, the schema explains."""

    payloads: list[Raw] | UnsetType = UNSET
    data: list[Raw] | UnsetType = UNSET
    version: Annotated[str, Meta(max_length=MAX_VERSION)] | UnsetType | None = UNSET
    token: Annotated[str, Meta(max_length=MAX_TOKEN)] | UnsetType | None = UNSET


class _Name:
    """A member's name as a key equal to no other, so that a dict keeps repeated members."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


_value = msgspec.json.Decoder(Raw).decode
_array = msgspec.json.Decoder(list[Raw]).decode
_envelope = msgspec.json.Decoder(_Envelope).decode
_envelope_schema = EnvelopeSchema()


def read_json(body: bytes, rejected: Rejected | None = None) -> Collection:
    """Read a body of valid UTF-8. Raises as every `Reader`."""
    body = body.rstrip(_SPACE)
    # As numbers: a search for bytes takes four times as long.
    if _NEWLINE in body or _RETURN in body:
        # They are layout, as JSON forbids them in strings, but may only go once that is checked:
        # `format` does both, and touches no number and no string.
        body = msgspec.json.format(body, indent=-1)
    start = body.lstrip(_SPACE)[:1]
    if start == b"{":
        return _read_envelope(body, rejected)
    if start == b"[":
        payloads = _array(body)
        if rejected is not None:
            payloads = only_objects(payloads, rejected, at="", detail=NOT_OBJECTS)
        return Collection(_join(payloads, at=""), len(payloads))
    _value(body)
    raise WrongShape("Must be an array of objects, or an object with `payloads`.")


def _read_envelope(body: bytes, rejected: Rejected | None) -> Collection:
    try:
        envelope = _envelope(body)
    except msgspec.ValidationError:
        raise _explain(body) from None
    if envelope.data is UNSET and envelope.payloads is not UNSET:
        name, payloads = "payloads", envelope.payloads
    elif envelope.payloads is UNSET and envelope.data is not UNSET:
        name, payloads = "data", envelope.data
    else:
        raise _explain(body)
    at = "/" + name
    if rejected is not None:
        payloads = only_objects(payloads, rejected, at=at, detail=NOT_OBJECTS)
    lines = _join(payloads, at=at)
    # msgspec keeps the last of repeated members. None can hide in a body that is just as long as
    # what was kept, written as tightly as can be; any other body has its names looked at.
    least = len(name) + len('{"":[]}') + (len(lines) - 1 if lines else 0)
    if least == len(body):
        return Collection(lines, len(payloads), at)
    version, token = envelope.version, envelope.token
    if version is not UNSET:
        least += _least("version", version)
    if token is not UNSET:
        least += _least("token", token)
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
    if len(payloads) == 1:
        line = b"%b\n" % payloads[0]
        if line[0] == _BRACE:
            return line
    if countOf(map(_first, payloads), _OBJECT) != len(payloads):
        only_objects(payloads, None, at=at, detail=NOT_OBJECTS)
    if len(payloads) <= JOINED_AT_ONCE:
        return b"\n".join([*payloads, _NOTHING])
    starts = range(0, len(payloads), JOINED_AT_ONCE)
    return b"".join([_join(payloads[i : i + JOINED_AT_ONCE], at=at) for i in starts])


def _least(name: str, value: str | None) -> int:
    """Return the fewest bytes this member can take in an envelope, with its comma."""
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
