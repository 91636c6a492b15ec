"""A webhook's body becomes lines: always in an envelope with its headers.

A line is `{"received_at", "stream", "source", "id", "headers": {...}, "payload": ...}`.
Knows no signature and no Flask.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from msgspec import Raw

from app.http.problems import BadRequest, NotJson, UnsupportedType, WrongShape
from app.ingest.formats.collection import Collection, check_growth
from app.ingest.formats.decoding import media_type_of
from app.ingest.formats.json_values import compact, elements

FORM: Final = "application/x-www-form-urlencoded"
MAX_FIELDS: Final = 1000
MAX_HEADER_VALUE: Final = 4096
# What a header's value may hold in a line; anything else is replaced.
_UNSAFE: Final = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_encode: Final = msgspec.json.Encoder().encode


class Envelope(msgspec.Struct, kw_only=True):
    """One line of a webhook."""

    received_at: str
    stream: str
    source: str
    id: str | None
    headers: dict[str, str]
    payload: Raw


_members: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_text: Final = msgspec.json.Decoder(str).decode


def read_payloads(body: bytes, *, content_type: str) -> list[bytes]:
    """Return the payloads of a webhook's body of valid UTF-8, each as JSON on one line.

    A form is an object of strings, or of lists where a name repeats; a form of the single field
    `payload`, as GitHub sends it, is the JSON in it. An array is a payload per element.

    Raises:
        UnsupportedType: it is a multipart form.
        NotJson, WrongShape: the body is no JSON, or holds nothing.
        TooLarge: an array has too many elements.
    """
    media_type = media_type_of(content_type)
    if media_type.startswith("multipart/"):
        raise UnsupportedType(f"Send a form as {FORM}, or JSON.")
    if media_type == FORM:
        body = _read_form(body)
    if not body.strip():
        raise NotJson("The body is empty.")
    try:
        value = compact(body.strip())
    except RecursionError:
        raise NotJson("The body is nested too deeply.") from None
    except msgspec.DecodeError as error:
        raise NotJson(f"{error}.") from error
    payloads = elements(value) if value[:1] == b"[" else [value]
    if not payloads:
        raise WrongShape("There are no payloads.")
    return payloads


def _read_form(body: bytes) -> bytes:
    try:
        fields = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=MAX_FIELDS
        )
    except ValueError as error:
        # Without the error's text, which holds what the form holds.
        raise BadRequest(f"This is no form of at most {MAX_FIELDS} fields.") from error
    if len(fields) == 1 and fields[0][0] == "payload":
        return fields[0][1].encode()
    form: dict[str, Any] = {}
    for name, value in fields:
        if name not in form:
            form[name] = value
        elif isinstance(form[name], list):
            form[name].append(value)
        else:
            form[name] = [form[name], value]
    return _encode(form)


def kept_headers(headers: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """Return the headers to keep, by the names under which they are configured."""
    return {name: clean(headers[name.lower()]) for name in names if name.lower() in headers}


def clean(value: str) -> str:
    """Return what is kept of a header's value, or of a delivery's id."""
    return _UNSAFE.sub("\ufffd", value[:MAX_HEADER_VALUE])


def body_id(payload: bytes, member: str) -> str | None:
    """Return a member of a payload that is an object, where it is a string."""
    try:
        return _text(_members(payload)[member])
    except (msgspec.DecodeError, KeyError):
        return None


def to_lines(
    payloads: list[bytes],
    *,
    stream: str,
    source: str,
    id: str | None,
    headers: dict[str, str],
    limit: int,
    now: datetime | None = None,
) -> Collection:
    """Return a delivery's lines; they have `limit` bytes at most.

    Raises:
        TooLarge: they would have more.
    """
    moment = (now or datetime.now(UTC)).isoformat(timespec="microseconds")
    envelope = Envelope(
        received_at=moment,
        stream=stream,
        source=source,
        id=None if id is None else clean(id),
        headers=headers,
        payload=Raw(b""),
    )
    opening = _encode(envelope)[: -len("}")]
    check_growth(sum(map(len, payloads)) + len(payloads) * (len(opening) + 2), limit=limit)
    lines = b"".join([opening + each + b"}\n" for each in payloads])
    return Collection(lines, len(payloads), wrapped=1, delivery=id)
