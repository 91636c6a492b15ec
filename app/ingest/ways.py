"""The ways in: which POSTs carry payloads, to which stream, and in which shape. Reads no body."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from app.access.rules import Endpoint, Rules, Webhook
from workers.segments.naming import STREAM

PAYLOADS, EVENTS, WEBHOOKS = "/payloads", "/events", "/webhooks/"
DEFAULT_STREAM = "default"


class RequestHead(Protocol):
    """What readers look at of a request beside its body. Header names are in lower case."""

    @property
    def query(self) -> str:
        """The query string, undecoded."""

    def header(self, name: str) -> str | None:
        """Return a header's value."""

    def header_items(self) -> Iterable[tuple[str, str]]:
        """Return all headers."""


class Way(NamedTuple):
    """Where a POST of payloads goes, and what shape its body has.

    At most one of the flags and rules is set; without any it is the strict `/payloads`.
    """

    stream: str
    is_events: bool = False
    webhook: Webhook | None = None
    endpoint: Endpoint | None = None

    @property
    def rule(self) -> Webhook | Endpoint | None:
        """The access file's rule of this way, if there is one."""
        return self.webhook or self.endpoint

    @property
    def has_cors(self) -> bool:
        """Whether pages of other origins may post this way, where the access file allows them."""
        return self.webhook is None


def stream_of(method: str, path: str) -> str | None:
    """Return the stream of a POST to `/payloads`; None for any other request."""
    return _stream_under(PAYLOADS, path) if method == "POST" else None


def way_of(path: str, rules: Rules | None) -> Way | None:
    """Return the way of a POST to `path`; None where it is for no route that takes payloads."""
    stream = _stream_under(PAYLOADS, path)
    if stream is not None:
        return Way(stream)
    stream = _stream_under(EVENTS, path)
    if stream is not None:
        return Way(stream, is_events=True)
    if rules is None:
        return None
    if path.startswith(WEBHOOKS):
        webhook = rules.webhooks.get(path.removeprefix(WEBHOOKS))
        return None if webhook is None else Way(webhook.stream, webhook=webhook)
    endpoint = rules.endpoints.get(path)
    return None if endpoint is None else Way(endpoint.stream, endpoint=endpoint)


def _stream_under(prefix: str, path: str) -> str | None:
    if path == prefix:
        return DEFAULT_STREAM
    if not path.startswith(prefix + "/"):
        return None
    name = path[len(prefix) + 1 :]
    return name if STREAM.fullmatch(name) else None
