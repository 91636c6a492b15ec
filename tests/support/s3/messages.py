"""Requests and answers of S3's protocol, between bytes and values."""

import http.client
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape


class S3Error(Exception):
    """An answer other than 2xx, in the words of S3's error list."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message or code


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request: path-style address, header names in lower case."""

    method: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @classmethod
    def parse(cls, head: bytes) -> Self:
        """Parse everything before the body.

        Raises:
            ValueError: this is not HTTP.
        """
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        method, target, _version = first.split(" ")
        path, _, query = target.partition("?")
        bucket, _, key = unquote(path)[1:].partition("/")
        fields = [line.split(":", 1) for line in lines]
        headers = {name.lower(): value.strip() for name, value in fields}
        return cls(method, bucket, key, dict(parse_qsl(query, keep_blank_values=True)), headers)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, before it becomes bytes."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def encode(self, method: str) -> bytes:
        """Write it as HTTP/1.1; a HEAD gets the length without the body."""
        lines = [f"HTTP/1.1 {self.status} {http.client.responses.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        # RFC 9110, section 8.6: no Content-Length on 204
        if self.status != 204:
            lines.append(f"Content-Length: {len(self.body)}")
        head = "\r\n".join([*lines, "x-amz-request-id: FAKE", "\r\n"]).encode("latin-1")
        return head if method == "HEAD" else head + self.body


def error_answer(request: Request, error: S3Error) -> Answer:
    """Write an error as S3 does: XML, or nothing at all under a HEAD."""
    if request.method == "HEAD":
        return Answer(error.status)
    xml = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{escape(error.code)}</Code>'
        f"<Message>{escape(error.message)}</Message>"
        f"<Resource>{escape(f'/{request.bucket}/{request.key}')}</Resource>"
        "<RequestId>FAKE</RequestId></Error>"
    )
    return Answer(error.status, {"Content-Type": "application/xml"}, xml.encode())
