"""What may stand in an access file, table by table, as marshmallow schemas."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from app.access.rules import ADMIN, READ, WRITE
from app.access.signatures import SCHEMES
from workers.segments.naming import STREAM

# RFC 9110 section 5.1, without what would let a kept header's name end a line.
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_PATTERN = re.compile(r"(?:[a-z0-9_*?-]|\[!?[a-z0-9_-]+\])+")
MAX_PATTERN = 128
_ORIGIN = re.compile(r"https?://[a-z0-9.\[\]:_-]+|null|\*")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class _Date(fields.Field[date]):
    """A TOML date; `2027-06-30` in quotes is one too."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> date:
        del attr, data
        if isinstance(value, datetime):
            raise ValidationError("Must be a date without a time, such as 2027-06-30.")
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except (TypeError, ValueError) as error:
            raise ValidationError("Must be a date, such as 2027-06-30.") from error


def _is_pattern(value: str) -> None:
    """Refuse what would match no stream, such as an open bracket or a range from z to a."""
    try:
        ranges = [re.compile(found.replace("!", "^")) for found in re.findall(r"\[.*?\]", value)]
    except re.error:
        ranges = None
    if ranges is None or len(value) > MAX_PATTERN or not _PATTERN.fullmatch(value):
        raise ValidationError("Must be a glob pattern of stream names.")


def _patterns() -> Any:
    each = fields.String(validate=_is_pattern)
    return fields.List(each, load_default=["*"], validate=validate.Length(min=1))


NO_STREAM = "Must be a stream's name, 1 to 64 of a-z 0-9 _ -, and neither _dead nor _watermark."


def _matching(pattern: re.Pattern[str], error: str, **options: Any) -> Any:
    return fields.String(
        validate=validate.Regexp(rf"(?:{pattern.pattern})\Z", error=error), **options
    )


def _status() -> Any:
    return fields.Integer(load_default=202, strict=True, validate=validate.Range(200, 299))


class AccessSchema(Schema):
    """`[access]`."""

    envelope_token = fields.Boolean(load_default=False)


class KeySchema(Schema):
    """`[keys.NAME]`."""

    sha256 = fields.List(
        _matching(_DIGEST, "Must be a SHA-256 in 64 lower-case hex digits."),
        required=True,
        validate=validate.Length(min=1, max=8),
    )
    scope = fields.String(load_default=WRITE, validate=validate.OneOf([WRITE, READ, ADMIN]))
    streams = _patterns()
    requests_per_second = fields.Float(load_default=None, validate=validate.Range(0.01, 1e9))
    bytes_per_second = fields.Float(load_default=None, validate=validate.Range(1, 1e12))
    url = fields.Boolean(load_default=False)
    expires = _Date(load_default=None)

    @validates_schema(skip_on_field_errors=False)
    def url_is_for_writing(self, data: Mapping[str, Any], **_: Any) -> None:
        """A key in a URL ends up in other people's logs: it may only write."""
        if data.get("url") and data.get("scope", WRITE) != WRITE:
            raise ValidationError("Only a key of scope `write` may come in a URL.", "url")


class CorsSchema(Schema):
    """`[cors]`."""

    origins = fields.List(
        _matching(_ORIGIN, "Must be an origin such as https://shop.example, or `*`, or `null`."),
        required=True,
        validate=validate.Length(min=1),
    )
    streams = _patterns()
    max_age_seconds = fields.Integer(
        load_default=7200, strict=True, validate=validate.Range(0, 86_400)
    )


class WebhookSchema(Schema):
    """`[webhooks.SOURCE]`."""

    scheme = fields.String(required=True, validate=validate.OneOf([*SCHEMES, "none"]))
    secrets = fields.List(fields.String(), load_default=list)
    stream = _matching(STREAM, NO_STREAM, load_default=None)
    headers = fields.List(
        _matching(_HEADER, "Must be the name of a header."), load_default=list,
        validate=validate.Length(max=32),
    )  # fmt: skip
    status = _status()
    body = fields.String(load_default=None, validate=validate.Length(max=4096))
    verify_token = fields.String(load_default=None, validate=validate.Length(min=1))
    header = _matching(_HEADER, "Must be the name of a header.", load_default=None)
    prefix = fields.String(load_default="")
    algorithm = fields.String(
        load_default="sha256", validate=validate.OneOf(["sha1", "sha256", "sha512"])
    )
    encoding = fields.String(load_default="hex", validate=validate.OneOf(["hex", "base64"]))
    id_header = _matching(_HEADER, "Must be the name of a header.", load_default=None)
    type_header = _matching(_HEADER, "Must be the name of a header.", load_default=None)
    timestamp_header = _matching(_HEADER, "Must be the name of a header.", load_default=None)
    template = fields.String(load_default="{body}")

    @validates_schema(skip_on_field_errors=False)
    def enough_to_verify(self, data: Mapping[str, Any], **_: Any) -> None:
        """Check that the scheme has what it verifies with; what is wrong in itself is not here."""
        scheme, template = data.get("scheme"), data.get("template", "{body}")
        signs_time = "{timestamp}" in template
        beside = re.sub(r"\{(?:timestamp|id|body)\}", "", template)
        mistakes = {}
        if scheme in SCHEMES and not data.get("secrets", True):
            mistakes["secrets"] = "A scheme that verifies needs at least one secret."
        if scheme == "hmac" and not data.get("header", True):
            mistakes["header"] = "The scheme `hmac` needs the signature's header."
        if "{" in beside or "}" in beside or template.count("{body}") != 1:
            mistakes["template"] = "Must have {body} once, and may have {timestamp} and {id}."
        elif "timestamp_header" in data and signs_time != bool(data["timestamp_header"]):
            # A timestamp that is not signed is the attacker's to choose.
            mistakes["template"] = "{timestamp} and timestamp_header need each other."
        elif "{id}" in template and not data.get("id_header", True):
            mistakes["template"] = "{id} needs id_header."
        if mistakes:
            raise ValidationError({name: [text] for name, text in mistakes.items()})


def _is_pointer(value: str) -> None:
    if value and not value.startswith("/"):
        raise ValidationError('Must be a JSON pointer: "" or "/member".')


def _is_member(value: str) -> None:
    if not value.startswith("/"):
        raise ValidationError("Must be a JSON pointer to a member, such as /api_key.")


class EndpointSchema(Schema):
    """`[endpoints."/path"]`."""

    stream = _matching(STREAM, NO_STREAM, required=True)
    payloads = fields.String(load_default="", validate=_is_pointer)
    key = fields.String(load_default=None, validate=_is_member)
    envelope = fields.Boolean(load_default=False)
    status = _status()
    body = fields.String(load_default=None, validate=validate.Length(max=4096))
