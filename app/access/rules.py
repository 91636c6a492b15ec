"""The rules of an access file, checked: data and look-ups. Reads no file and no clock."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from fnmatch import translate

# What a scope may do. An admin may do all.
# What a browser sends (RFC 6454 section 7): it is echoed, so nothing else is.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]{0,31}://[A-Za-z0-9.\[\]:_-]{1,300}")
WRITE, READ, ADMIN = "write", "read", "admin"


@dataclass(frozen=True, slots=True)
class StreamPatterns:
    """Glob patterns of stream names, as one compiled expression."""

    patterns: tuple[str, ...] = ("*",)
    _match: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        expression = "|".join(translate(pattern) for pattern in self.patterns) or r"(?!)"
        object.__setattr__(self, "_match", re.compile(expression))

    def __contains__(self, stream: str) -> bool:
        return self._match.match(stream) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A client's key: its name and what it may do; of the key itself the file has the SHA-256.

    `expires` is the last day (UTC) on which the key is valid.
    """

    name: str
    scope: str
    streams: StreamPatterns
    requests_per_second: float | None = None
    bytes_per_second: float | None = None
    url: bool = False
    expires: date | None = None

    def can(self, action: str) -> bool:
        """Whether the scope covers an action: `write`, `read` or `admin`.

        A key that writes also reads: it looks its own receipts up.
        """
        return self.scope in (ADMIN, action) or (action == READ and self.scope == WRITE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Which pages may post from a browser, and to which streams."""

    origins: frozenset[str]
    streams: StreamPatterns
    max_age_seconds: int

    def allows(self, origin: str) -> bool:
        """Whether pages of `origin` may post. `*` stands for every origin but `null`."""
        if origin in self.origins:
            return True
        return "*" in self.origins and _ORIGIN.fullmatch(origin) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One source of webhooks: how its requests are signed, and where they go."""

    source: str
    scheme: str
    secrets: tuple[bytes, ...]
    stream: str
    headers: tuple[str, ...] = ()
    status: int = 202
    body: str | None = None
    verify_token: str | None = None
    options: "HmacOptions | None" = None
    # The scheme's own id and type headers, which are kept without being listed.
    kept_headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HmacOptions:
    """What the generic scheme `hmac` needs to know about a signature.

    `template` is what is signed, from `{timestamp}`, `{id}` and `{body}`; `prefix` precedes the
    signature in its header.
    """

    header: str
    prefix: str = ""
    algorithm: str = "sha256"
    encoding: str = "hex"
    id_header: str | None = None
    type_header: str | None = None
    timestamp_header: str | None = None
    template: str = "{body}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A path of its own for clients with a fixed path and shape.

    `payloads` and `key` are JSON pointers into the body.
    """

    path: str
    stream: str
    payloads: str
    key: str | None = None
    envelope: bool = False
    status: int = 202
    body: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Everything that an access file says."""

    keys: Mapping[bytes, Key]
    envelope_token: bool = False
    cors: Cors | None = None
    webhooks: Mapping[str, Webhook] = field(default_factory=dict)
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    # Known keys by the `Authorization` headers that they came in: clients send the same each time.
    seen: dict[str, Key] = field(default_factory=dict, repr=False, compare=False)

    @property
    def names(self) -> Iterable[str]:
        """The keys' names, each once."""
        return sorted({key.name for key in self.keys.values()})
