"""HTTP written by hand, for requests that no well-behaved client would send. Knows no service."""

import http.client
import json
import select
import socket
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Self

from tests.support.s3 import LOOPBACK
from tests.support.service import Answer

JSON = {"Content-Type": "application/json"}


def head(method: str, path: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Write the head of an HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: brigade"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def post(body: bytes, path: str = "/payloads", headers: Mapping[str, str] | None = None) -> bytes:
    """Write a whole POST of JSON."""
    given = {**JSON, "Content-Length": str(len(body)), **(headers or {})}
    return head("POST", path, given) + body


def chunked(pieces: Iterable[bytes]) -> bytes:
    """Write a body of `Transfer-Encoding: chunked` (RFC 9112, section 7.1)."""
    return b"".join([b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]) + b"0\r\n\r\n"


# What a segment holds on Ethernet. On loopback it is 64 KB, and a sender's buffer many of these.
ETHERNET_SEGMENT = 1460


class Wire:
    """One TCP connection to the service; every read ends after `timeout` seconds.

    With `small_segments` what the service sends fills its buffer as soon as on a network.
    """

    def __init__(self, port: int, *, timeout: float = 50.0, small_segments: bool = False) -> None:
        self._socket = socket.socket()
        self._socket.settimeout(timeout)
        if small_segments:
            self.set_option(
                socket.TCP_MAXSEG, struct.pack("i", ETHERNET_SEGMENT), level=socket.IPPROTO_TCP
            )
        try:
            self._socket.connect((LOOPBACK, port))
        except OSError:
            self._socket.close()
            raise
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave."""
        self._file.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def shut(self) -> None:
        """Send no more, but listen on."""
        self._socket.shutdown(socket.SHUT_WR)

    def set_option(self, option: int, value: bytes, *, level: int = socket.SOL_SOCKET) -> None:
        """Set a socket option, such as a linger of zero, which makes `close` a reset."""
        self._socket.setsockopt(level, option, value)

    def send_what_goes(self, data: bytes) -> None:
        """Send as much as the other side takes at once."""
        self._socket.send(data, socket.MSG_DONTWAIT)

    def has_news(self, seconds: float) -> bool:
        """Block until there is something to read, or the end, for some seconds at most."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def answer(self, *, to_head: bool = False) -> Answer:
        """Read one response, and no further.

        Raises:
            EOFError: the other side closed instead.
        """
        first = self._file.readline()
        if not first:
            raise EOFError
        headers = http.client.parse_headers(self._file)
        length = 0 if to_head else int(headers.get("Content-Length", 0))
        return Answer(int(first.split()[1]), headers, self._file.read(length))

    def is_closed(self) -> bool:
        """Block until the other side has closed, or has said something."""
        try:
            return not self._file.read(1)
        except ConnectionError:
            return True


def ask(port: int, method: str, path: str, *, headers: Mapping[str, str] | None = None) -> Answer:
    """Send a request without a body on a connection of its own."""
    with Wire(port) as wire:
        wire.send(head(method, path, {"Connection": "close", **(headers or {})}))
        return wire.answer(to_head=method == "HEAD")


def problem(answer: Answer, status: int) -> dict[str, Any]:
    """Return the problem document that an answer must be (RFC 9457).

    Raises:
        AssertionError: it is another status, HTML, or lacks what every problem has.
    """
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json", answer
    document: dict[str, Any] = json.loads(answer.body)
    assert document["status"] == status
    assert document["type"] == "about:blank"
    assert document["title"]
    assert "Traceback" not in document["detail"]
    assert answer.headers["X-Request-ID"]
    assert (status == 503) == ("Retry-After" in answer.headers)
    return document


def pointers(document: dict[str, Any]) -> list[str]:
    """Return where a problem's faults are."""
    return [error["pointer"] for error in document.get("errors", [])]
