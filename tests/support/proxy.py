"""A small reverse proxy before an S3, with or without TLS, that does what proxies and stores do.

It refuses requests, and changes or drops what passes through it, as `Manners` say. Knows HTTP only.
"""

import contextlib
import hashlib
import http.client
import http.server
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tests.support.certificates import Certificate
from tests.support.s3 import LOOPBACK

# Of one connection only, or made anew for each.
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


@dataclass(frozen=True, slots=True)
class Passing:
    """A request on its way to the store: names of headers in lower case, the body as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of the proxy's own; without a code it is a page of HTML, as proxies send them."""

    status: int
    code: str = ""

    def body(self) -> bytes:
        """Return the answer's body."""
        if self.code:
            return f"<Error><Code>{self.code}</Code><Message>no</Message></Error>".encode()
        return f"<html><h1>{self.status}</h1></html>".encode()


Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """What a proxy does: `refuse` requests, change the `request`, its answer's `headers`, `body`.

    By default it passes everything on as it is.
    """

    refuse: Callable[[Passing], Refusal | None] = lambda _: None
    request: Callable[[Passing], Passing] = lambda passing: passing
    headers: Callable[[Headers], Headers] = lambda headers: headers
    body: Callable[[bytes], bytes] = lambda body: body


def refuse_chunks(passing: Passing) -> Refusal | None:
    """Take plain bodies only, and check their digest, as Ceph and rclone do."""
    if passing.method != "PUT":
        return None
    if "content-length" not in passing.headers:
        return Refusal(411, "MissingContentLength")
    signed = passing.headers.get("x-amz-content-sha256", "")
    if len(signed) != 64 or signed != hashlib.sha256(passing.body).hexdigest():
        return Refusal(400, "XAmzContentSHA256Mismatch")
    return None


def refuse_conditions(passing: Passing) -> Refusal | None:
    """Know no conditions, as OpenStack Swift's S3 API."""
    has = {"if-match", "if-none-match"} & passing.headers.keys()
    return Refusal(501, "NotImplemented") if has else None


def refuse_larger(limit: int) -> Callable[[Passing], Refusal | None]:
    """Take no body over `limit` bytes, as nginx with `client_max_body_size`."""
    return lambda passing: Refusal(413) if len(passing.body) > limit else None


def refuse_keys_but(keys: set[str]) -> Callable[[Passing], Refusal | None]:
    """Take the requests that one of `keys` has signed; the set may change."""

    def refuse(passing: Passing) -> Refusal | None:
        signed_by = passing.headers.get("authorization", "").partition("Credential=")[2]
        return None if signed_by.partition("/")[0] in keys else Refusal(403, "InvalidAccessKeyId")

    return refuse


def without(*names: str) -> Callable[[Headers], Headers]:
    """Drop headers whose names begin so."""
    return lambda headers: [pair for pair in headers if not pair[0].lower().startswith(names)]


def canonical(headers: Headers) -> Headers:
    """Write names as Go does: `X-Amz-Meta-Segment`."""
    return [("-".join(part.capitalize() for part in n.split("-")), v) for n, v in headers]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # The head and the body of an answer go out in one write each.
    disable_nagle_algorithm = True
    server: "_Server"

    def _pass(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        passing = Passing(self.command, self.path, headers, self._read_body(headers))
        manners = self.server.manners
        refusal = manners.refuse(passing)
        if refusal is not None:
            self._answer(refusal.status, [], refusal.body())
            return
        passing = manners.request(passing)
        kept = {n: v for n, v in passing.headers.items() if n not in HOP_BY_HOP}
        upstream = http.client.HTTPConnection(LOOPBACK, self.server.upstream, timeout=30)
        with contextlib.closing(upstream):
            upstream.request(passing.method, passing.path, passing.body or None, kept)
            answer = upstream.getresponse()
            body = manners.body(answer.read())
            given = answer.getheaders()
            if passing.method != "HEAD":
                given = [pair for pair in given if pair[0].lower() not in HOP_BY_HOP]
            self._answer(answer.status, manners.headers(given), body)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass  # noqa: N815 (the library's names)

    def _read_body(self, headers: Mapping[str, str]) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", ""):
            return self.rfile.read(int(headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, headers: Headers, body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.command == "HEAD":
            # An answer without a length ends with the connection.
            self.send_header("Connection", "close")
            self.close_connection = True
            body = b""
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    manners: Manners
    upstream: int

    def handle_error(self, *_: object) -> None:
        """Clients that leave are everyday."""


@dataclass(slots=True)
class Proxy:
    """A running proxy before the S3 on `upstream`; a context manager."""

    upstream: int
    certificate: Certificate | None = None
    manners: Manners = field(default_factory=Manners)
    _server: Any = None
    _thread: Any = None

    def __enter__(self) -> Self:
        self._server = _Server((LOOPBACK, 0), _Handler)
        self._server.manners, self._server.upstream = self.manners, self.upstream
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate.authority, self.certificate.key)
            # The handshake is the connection's thread's, not the accepting one's.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def behave(self, manners: Manners) -> None:
        """Do so from the next request on."""
        self._server.manners = manners

    def environ(self) -> dict[str, str]:
        """Return the variables by which boto3 comes here."""
        scheme = "http" if self.certificate is None else "https"
        endpoint = {"AWS_ENDPOINT_URL_S3": f"{scheme}://{LOOPBACK}:{self._server.server_port}"}
        if self.certificate is None:
            return endpoint
        return {**endpoint, "AWS_CA_BUNDLE": str(self.certificate.authority)}
