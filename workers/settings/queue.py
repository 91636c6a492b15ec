"""The settings of `DURABILITY=queue`, checked as far as they show without asking the server.

Knows no client.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from marshmallow import ValidationError, fields, validate, validates_schema

from workers.settings.puts import PutSchema, PutSettings

QUEUE = "queue"
REDIS_SCHEMES = ("redis", "rediss")
SQS_SCHEME = "sqs"
DEFAULT_NAME = "bucket-brigade"
# In the order of a sentence that lists them.
REDIS_OPTIONS = dict.fromkeys(("name", "sentinel", "cluster", "ssl_ca_certs"))

_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d+")
_ACCOUNT = re.compile(r"\d{12}")
_QUEUE = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsUrl:
    """What a `QUEUE_URL` of SQS says: where the queue is."""

    region: str
    account: str
    name: str


def is_sqs(url: str | None) -> bool:
    """Whether a `QUEUE_URL` is one of SQS."""
    return url is not None and url.startswith(f"{SQS_SCHEME}:")


def read_sqs_url(url: str) -> SqsUrl:
    """Read a `QUEUE_URL` of SQS: `sqs://region/account/queue`.

    Raises:
        ValueError: it cannot be used; says why.
    """
    parts = urlsplit(url)
    account, _, name = parts.path.removeprefix("/").partition("/")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("it is sqs://<region>/<account>/<queue>, and nothing else")
    if not _REGION.fullmatch(parts.netloc):
        raise ValueError("after sqs:// comes a region, such as eu-west-1")
    if not _ACCOUNT.fullmatch(account):
        raise ValueError("after the region comes an account, 12 digits")
    if name.endswith(".fifo"):
        raise ValueError("a FIFO queue does not do: it must be a standard queue")
    if not _QUEUE.fullmatch(name):
        raise ValueError("the queue has 1 to 80 letters, digits, - and _")
    return SqsUrl(region=parts.netloc, account=account, name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisUrl:
    """What a `QUEUE_URL` of Redis says: how to reach it, and the name that all keys begin with.

    `nodes` are those of Sentinel, or of a cluster, or the one server. `authorities` is the file of
    those to trust, in PEM, where the system does not know them.
    """

    nodes: tuple[tuple[str, int], ...]
    name: str
    database: int
    username: str | None
    password: str | None
    tls: bool
    authorities: str | None
    sentinel: str | None
    cluster: bool


def read_redis_url(url: str) -> RedisUrl:
    """Read a `QUEUE_URL` of Redis.

    `redis[s]://[user:password@]host[:port][,host[:port]…][/database][?option=…&option=…]`, with the
    options `name`, `sentinel`, `cluster` and `ssl_ca_certs`.

    Raises:
        ValueError: it cannot be used; says why, without the password.
    """
    parts = urlsplit(url)
    if parts.scheme not in REDIS_SCHEMES:
        schemes = ", ".join(f"{scheme}://" for scheme in (*REDIS_SCHEMES, SQS_SCHEME))
        raise ValueError(f"it begins with none of {schemes}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := options.keys() - REDIS_OPTIONS:
        raise ValueError(f"unknown option {min(unknown)}; there are {', '.join(REDIS_OPTIONS)}")
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    sentinel = options.get("sentinel")
    cluster = options.get("cluster", "0") in ("1", "true", "yes", "on")
    path = parts.path.strip("/")
    if path and not path.isdecimal():
        raise ValueError("the database is a number")
    if "," in hosts and not (sentinel or cluster):
        raise ValueError("several hosts are for Sentinels (sentinel) or a cluster (cluster=1)")
    if cluster and (sentinel or path not in ("", "0")):
        raise ValueError("a cluster has no sentinel, and the database 0 only")
    return RedisUrl(
        nodes=tuple(_node(host, 26379 if sentinel else 6379) for host in hosts.split(",")),
        name=_name(options),
        database=int(path or 0),
        username=unquote(username) or None,
        password=unquote(password) or None,
        tls=parts.scheme == "rediss",
        authorities=_authorities(options, scheme=parts.scheme),
        sentinel=sentinel,
        cluster=cluster,
    )


def _name(options: Mapping[str, str]) -> str:
    name = options.get("name", DEFAULT_NAME)
    if not name or not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise ValueError("name may have letters, digits, - and _")
    return name


def _authorities(options: Mapping[str, str], *, scheme: str) -> str | None:
    path = options.get("ssl_ca_certs")
    if path is None:
        return None
    if scheme != "rediss":
        raise ValueError("ssl_ca_certs is for rediss:// only")
    if not Path(path).is_file():
        raise ValueError(f"ssl_ca_certs: there is no file {path}")
    return path


def _node(text: str, default: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    try:
        port = parts.port or default
    except ValueError:
        raise ValueError("a port is a number up to 65535") from None
    if not parts.hostname:
        raise ValueError("it names no host")
    return parts.hostname, port


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings(PutSettings):
    """Where the queue is, what this process does with it, and what is asked of it.

    `queue_max_bytes` is None for half of the server's maxmemory.
    """

    queue_url: str | None = None
    role: str = "all"
    queue_max_bytes: int | None = None
    redis_wait_replicas: int = 0
    receipt_seconds: int = 604_800


def _queue_url(value: str) -> None:
    try:
        if is_sqs(value):
            read_sqs_url(value)
        else:
            read_redis_url(value)
    except ValueError as error:
        raise ValidationError(f"cannot be used: {error}.") from error


class QueueSchema(PutSchema):
    """These settings as marshmallow fields."""

    queue_url = fields.String(
        load_default=None,
        validate=_queue_url,
        metadata={"help": "`redis://…`, `rediss://…`, `sqs://…`: the queue of `DURABILITY=queue`."},
    )
    role = fields.String(
        load_default="all",
        validate=validate.OneOf(["all", "web", "worker"]),
        metadata={"help": "What a process does with the queue: `web` accepts, `worker` uploads."},
    )
    queue_max_bytes = fields.Integer(
        load_default=None,
        validate=validate.Range(1 << 20, 1 << 50),
        metadata={"help": "Bytes the queue may hold. Default: half of the server's maxmemory."},
    )
    redis_wait_replicas = fields.Integer(
        load_default=0,
        validate=validate.Range(0, 10),
        metadata={"help": "Replicas that must have payloads in their files before the 202."},
    )
    receipt_seconds = fields.Integer(
        load_default=604_800,
        validate=validate.Range(60, 31_536_000),
        metadata={"help": "How long the queue knows that a receipt's payloads are stored."},
    )

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def check_queue(
        self, data: Mapping[str, Any], original: Mapping[str, str], **_: object
    ) -> None:
        """See that what belongs to a queue is there with one, and only with one."""
        faults: dict[str, list[str]] = {}
        if data.get("durability") == QUEUE:
            if not original.get("QUEUE_URL", "").strip():
                faults["queue_url"] = ["must be set with DURABILITY=queue."]
            if not data.get("receipt_secret"):
                faults["receipt_secret"] = [
                    "must be set with DURABILITY=queue, the same on all machines."
                ]
        elif "durability" in data:
            if data.get("queue_url") is not None:
                faults["queue_url"] = ["is for DURABILITY=queue only."]
            if data.get("role", "all") != "all":
                faults["role"] = ["is for DURABILITY=queue only."]
        if is_sqs(data.get("queue_url")):
            faults |= _not_with_sqs(data)
        if faults:
            raise ValidationError(faults)


def _not_with_sqs(data: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return what is set and has no effect on SQS, or could not work there."""
    faults: dict[str, list[str]] = {}
    if data.get("queue_max_bytes") is not None:
        faults["queue_max_bytes"] = ["is for Redis only: SQS has no bound."]
    if data.get("redis_wait_replicas"):
        faults["redis_wait_replicas"] = ["is for Redis only."]
    if data.get("watermark_seconds"):
        faults["watermark_seconds"] = ["is not offered with SQS."]
    wait, request = data.get("stored_max_wait_seconds"), data.get("request_seconds")
    if wait and request and wait > request / 4:
        text = "must be at most a quarter of REQUEST_SECONDS with SQS: requests wait for it."
        faults["stored_max_wait_seconds"] = [text]
    return faults
