"""CloudEvents over HTTP in binary mode: `ce-*` headers and a body become one structured event.

The HTTP binding: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
The JSON format: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
Structured and batch mode need nothing: their bodies are JSON already.
"""

import base64
import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from msgspec import Raw

from app.http.problems import BadRequest, NotJson
from app.ingest.formats.collection import Collection
from app.ingest.formats.decoding import check_utf8, media_type_of
from app.ingest.formats.json_values import compact

PREFIX: Final = "ce-"
REQUIRED: Final = ("specversion", "id", "source", "type")
MAX_ATTRIBUTES: Final = 100
_NAME: Final = re.compile(r"[a-z0-9]{1,64}")
_JSON: Final = re.compile(r"application/json|[^/]+/[^/]+\+json|[^/]+/json")
_encode: Final = msgspec.json.Encoder().encode


def is_binary(names: Iterable[str]) -> bool:
    """Whether a request with these headers (lower-case names) is a CloudEvent in binary mode."""
    return "ce-specversion" in names


def read_binary(
    body: bytes, *, content_type: str, headers: Iterable[tuple[str, str]]
) -> Collection:
    """Return the one event of a request in binary mode; `headers` have lower-case names.

    A JSON body becomes `data` as it is, text a string, anything else `data_base64`. Without a
    content type a body is JSON if it can be.

    Raises:
        BadRequest: a required attribute is missing, or a name is none.
        NotJson, msgspec.DecodeError: the body is not the JSON that its content type says.
    """
    event: dict[str, Any] = dict(_attributes(headers))
    missing = [name for name in REQUIRED if not event.get(name)]
    if missing:
        names = ", ".join(PREFIX + name for name in missing)
        raise BadRequest(f"The CloudEvent lacks {names}.")
    media_type = media_type_of(content_type)
    if content_type:
        event["datacontenttype"] = content_type
    if body:
        event.update([_data(body, media_type)])
    return Collection(_encode(event) + b"\n", 1)


def _attributes(headers: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    for count, (header, value) in enumerate(item for item in headers if item[0].startswith(PREFIX)):
        name = header.removeprefix(PREFIX)
        if count >= MAX_ATTRIBUTES or not _NAME.fullmatch(name) or name in ("data", "data_base64"):
            raise BadRequest("The CloudEvent has too many attributes, or one of no valid name.")
        # Section 3.1.3.2: values are percent-encoded, and ASCII.
        if not value.isascii():
            raise BadRequest(f"The value of {header} is not ASCII: it is to be percent-encoded.")
        yield name, unquote(value, errors="replace")


def _data(body: bytes, media_type: str) -> tuple[str, Any]:
    if _JSON.fullmatch(media_type):
        return "data", _json(body)
    if not media_type:
        try:
            return "data", _json(body)
        except (msgspec.DecodeError, NotJson, RecursionError):
            pass
    if media_type.startswith("text/"):
        try:
            return "data", body.decode()
        except UnicodeDecodeError:
            pass
    return "data_base64", base64.b64encode(body).decode()


def _json(body: bytes) -> Raw:
    return Raw(compact(check_utf8(body).strip()))
