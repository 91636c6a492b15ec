"""Every setting: name, default, bounds and meaning. The one place that reads the environment."""

import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marshmallow import EXCLUDE, ValidationError, fields, post_load, pre_load, validate

from workers.errors import SettingsError
from workers.segments.naming import default_template
from workers.settings import aws_environment
from workers.settings.object_keys import KeySchema
from workers.settings.queue import QUEUE, QueueSchema, QueueSettings
from workers.settings.stored import DISKLESS, STORED, StoredSchema, counters_directory

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
# gthread keeps idle keep-alive connections this long after SIGTERM (gunicorn 27, gthread.py)
KEEPALIVE_LINGER_SECONDS = 2.0
MAX_SECRET_BYTES = 1 << 16
# A variable's name as they are usually written; a secret has no underscores between capitals.
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(QueueSettings):
    """What the operator decided, checked. Seconds and bytes everywhere."""

    s3_bucket: str
    max_workers: int
    max_queue: int
    max_streams: int
    streams: tuple[str, ...]
    key_template: str
    event_time: str | None
    object_max_payloads: int
    object_target_bytes: int
    object_max_age_seconds: float
    stored_max_wait_seconds: float
    compression: str
    line_format: str
    payload_schema: str | None
    durability: str
    spool_dir: Path
    spool_max_bytes: int
    memory_max_bytes: int
    idempotency_seconds: int
    idempotency_max_keys: int
    max_body_bytes: int
    request_seconds: float
    drain_seconds: float
    watermark_seconds: float
    s3_read_timeout_seconds: float
    receipt_secret: str
    access_file: Path | None
    log_level: str
    web_concurrency: int
    engine: str
    port: int | None

    @property
    def graceful_seconds(self) -> float:
        """How long one process may take from SIGTERM to its end: gunicorn's `graceful_timeout`.

        gunicorn has one budget for running requests *and* the hook that drains the pipeline.
        """
        return KEEPALIVE_LINGER_SECONDS + self.request_seconds + self.drain_seconds


def _number(kind: type[fields.Field[Any]], default: Any, low: Any, high: Any, text: str) -> Any:
    return kind(load_default=default, validate=validate.Range(low, high), metadata={"help": text})


def _choice(default: str, choices: list[str], text: str) -> fields.String:
    one_of = validate.OneOf(choices)
    return fields.String(load_default=default, validate=one_of, metadata={"help": text})


# A stream's name, or a pattern of names as in a shell.
_PATTERN = r"[a-z0-9_*?\[\]!-]{1,64}"


class SettingsSchema(KeySchema, QueueSchema, StoredSchema):
    """The settings table of the README, as marshmallow fields; names are upper case outside."""

    class Meta:
        unknown = EXCLUDE

    s3_bucket = fields.String(
        required=True,
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, or the ARN
        # of an access point
        validate=validate.Regexp(
            r"(?:[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
            r"|arn:aws[a-z-]*:s3[a-z-]*:[a-z0-9-]*:[0-9]+:[a-z]+[/:][A-Za-z0-9/:-]+)$",
            error="is not a bucket's name (3 to 63 of a-z 0-9 . -), nor an access point's ARN",
        ),
        error_messages={"required": "must be set: the bucket that objects go to"},
        metadata={"help": "Bucket that objects go to. Required (`make run` brings its own)."},
    )
    durability = _choice(
        "disk",
        ["disk", "memory", STORED, QUEUE],
        "What an answer means: `disk`: fsynced before it; `stored`: in S3 before it (201); "
        "`queue`: confirmed by `QUEUE_URL`.",
    )
    max_workers = _number(fields.Integer, 8, 1, 128, "Upload threads per process.")
    max_queue = _number(
        fields.Integer, 1000, 1, 1_000_000, "Jobs (sealed segments) that may wait, per process."
    )
    max_streams = _number(
        fields.Integer,
        256,
        1,
        10_000,
        "Streams, or partitions of them, with an open segment at one time, per process.",
    )
    streams = fields.String(
        load_default="*",
        validate=validate.Regexp(
            rf"\s*{_PATTERN}(\s*,\s*{_PATTERN})*\s*$",
            error="is no list of names and patterns: a-z 0-9 _ - * ? [ ], separated by commas",
        ),
        metadata={"help": "Streams that are taken: names and `*` `?` `[…]` patterns, with commas."},
    )
    object_max_payloads = _number(
        fields.Integer, 1_000_000, 1, 100_000_000, "Payloads per object; 1 = an object each."
    )
    object_target_bytes = _number(
        fields.Integer, 4 * MIB, KIB, 4 * GIB, "Size of an object as stored, compressed."
    )
    object_max_age_seconds = _number(
        fields.Float, 10.0, 0.01, 86_400, "Age at which a part-full segment is sealed."
    )
    stored_max_wait_seconds = _number(
        fields.Float, 0.25, 0.01, 60, "Age at which a segment is sealed that a request waits for."
    )
    compression = _choice("gzip", ["gzip", "zstd", "none"], "Compression of objects.")
    line_format = _choice(
        "payload",
        ["payload", "envelope"],
        "A line is the payload alone, or an envelope with `received_at` and so on around it.",
    )
    payload_schema = fields.String(
        load_default=None,
        metadata={"help": "`package.module:SchemaClass`, a marshmallow schema for every payload."},
    )
    spool_dir = fields.String(
        load_default="spool",
        metadata={"help": "Directory (local file system) for the spool and dead letters."},
    )
    spool_max_bytes = _number(
        fields.Integer, 10 * GIB, MIB, 1 << 50, "Bytes the spool may hold, all processes together."
    )
    memory_max_bytes = _number(
        fields.Integer, 48 * MIB, MIB, 1 << 40, "Payload bytes in memory mode, per process."
    )
    idempotency_seconds = _number(
        fields.Integer, 86_400, 1, 2_592_000, "Time that an Idempotency-Key is remembered."
    )
    idempotency_max_keys = _number(
        fields.Integer, 250_000, 1, 100_000_000, "Keys that are remembered, the last ones."
    )
    max_body_bytes = _number(
        fields.Integer, 12 * MIB, KIB, GIB, "Largest request body, before and after decoding."
    )
    request_seconds = _number(
        fields.Float, 10.0, 0.1, 3600, "Time a request has to arrive whole; then 408."
    )
    drain_seconds = _number(
        fields.Float, 15.0, 0.5, 3600, "Time to upload what is left at a stop; the rest is kept."
    )
    watermark_seconds = _number(
        fields.Float, 0.0, 0, 86_400, "Time between two watermarks in the bucket; 0 = none."
    )
    s3_read_timeout_seconds = _number(
        fields.Float, 15.0, 1, 60, "Time that S3 has for an answer; then it is tried again."
    )
    receipt_secret = fields.String(
        load_default="",
        metadata={"help": "Key that receipts are signed with. The same on all machines."},
    )
    access_file = fields.String(
        load_default=None,
        metadata={"help": "TOML file of keys, limits, webhooks and CORS. Without it all is open."},
    )
    log_level = _choice("info", ["debug", "info", "warning", "error"], "Least level logged.")
    web_concurrency = _number(
        fields.Integer, len(os.sched_getaffinity(0)), 1, 1024, "gunicorn processes; default: cores."
    )

    engine = _choice(
        "granian",
        ["granian", "gthread"],
        "What reads HTTP: Granian's engine, or gunicorn's threads.",
    )

    port = _number(
        fields.Integer,
        None,
        1,
        65_535,
        "Port on all addresses, IPv6 and IPv4. Else 127.0.0.1:8000.",
    )

    @pre_load
    def blank_is_unset(self, data: Mapping[str, str], **_: Any) -> dict[str, str]:
        """Take `NAME=` as unset, as shells and compose files mean it; fill in the key template."""
        known = {
            name: data[name.upper()].strip()
            for name in self.fields
            if data.get(name.upper(), "").strip()
        }
        known.setdefault("key_template", default_template_for(known.get("compression")))
        return known

    @post_load
    def build(self, data: dict[str, Any], **_: Any) -> Settings:
        """Make the typed settings."""
        data["streams"] = tuple(name.strip() for name in data["streams"].split(","))
        data["spool_dir"] = Path(data["spool_dir"]).absolute()
        if data["durability"] in DISKLESS:
            about = data["s3_bucket"], data["port"]
            data["spool_dir"] = counters_directory(*about, durability=data["durability"])
        if data["access_file"] is not None:
            data["access_file"] = Path(data["access_file"]).absolute()
        return Settings(**data)


def default_template_for(compression: str | None) -> str:
    """Return the default key template even where the compression is misspelt."""
    return default_template(compression if compression in {"gzip", "zstd", "none"} else "gzip")


@functools.cache
def process_settings() -> Settings:
    """Return this process's settings, read from the environment once. Raises as `load_settings`."""
    return load_settings()


def read_secret(reference: str) -> str:
    """Return the secret that `env:NAME` or `file:/path` names; blocks on the disk.

    Raises:
        ValueError: it names none that can be read; the message holds no secret.
    """
    kind, _, name = reference.partition(":")
    if kind == "env":
        value = os.environ.get(name, "")
    elif kind == "file":
        try:
            with Path(name).open("rb") as file:
                value = file.read(MAX_SECRET_BYTES).decode().rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise ValueError(f"The file {name} cannot be read.") from error
    else:
        raise ValueError("Must be env:NAME or file:/path, never the secret itself.")
    if not value.strip():
        # A name that does not look like one may be the secret itself, put there by mistake.
        shown = kind == "file" or _VARIABLE.fullmatch(name)
        raise ValueError(f"{name if shown else 'It names a secret that'} is empty or not set.")
    return value


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check every setting, boto3's own too. Does not block.

    Raises:
        SettingsError: all mistakes at once, a line each.
    """
    given = os.environ if environ is None else environ
    faults = aws_environment.mistakes(given)
    settings: Settings | None = None
    try:
        settings = SettingsSchema().load(given)
    except ValidationError as error:
        messages: Any = error.messages
        faults |= {name.upper(): " ".join(found) for name, found in messages.items()}
    if faults or settings is None:
        raise _settings_error(faults)
    return settings


def check_boto3_files(environ: Mapping[str, str] | None = None) -> None:
    """See that the files and profiles that boto3's variables name are there. Blocks on the disk.

    Raises:
        SettingsError: all mistakes at once, a line each.
    """
    faults = aws_environment.missing_files(os.environ if environ is None else environ)
    if faults:
        raise _settings_error(faults)


def _settings_error(faults: Mapping[str, str]) -> SettingsError:
    lines = [f"  {name}: {fault}" for name, fault in sorted(faults.items())]
    return SettingsError("\n".join(["settings are wrong:", *lines]))
