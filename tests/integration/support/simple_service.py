"""A working service of the simplest kind, with a flaw on demand: what the judge is tested on."""

import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.integration.support.client import (
    put,
)
from tests.support.s3 import LOOPBACK, FakeS3


class SimpleService(ThreadingHTTPServer):
    """A working service of the simplest kind, an object a request, with a flaw if one is named.

    Every fifth request is refused, every seventh loses its connection (after it was stored).
    """

    daemon_threads = False

    def __init__(self, s3: FakeS3, client: Any, flaw: str) -> None:
        super().__init__((LOOPBACK, 0), Handler)
        self.s3, self.client, self.flaw = s3, client, flaw
        self.seen = 0
        self.lock = threading.Lock()

    def keep(self, key: str, lines: list[bytes]) -> None:
        """Store lines as an object."""
        put(self.client, key, gzip.compress(b"".join(line + b"\n" for line in lines), 1))

    def next(self) -> int:
        """Number a request, from 1."""
        with self.lock:
            self.seen += 1
            return self.seen


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    # Head and body in one packet, or every answer waits for a delayed acknowledgement.
    wbufsize = -1
    server: SimpleService

    def do_POST(self) -> None:
        service, number = self.server, self.server.next()
        lines, key = self.read_lines(), f"{self.path[1:]}/{number}.gz"
        struck = number % 5 == 0
        refused = struck and service.flaw in {"", "refused_but_stored", "malformed"}
        if not refused and not (struck and service.flaw == "lost"):
            service.keep(key, [b'{"id":1}', *lines])
        if struck:
            self.go_wrong(key, lines)
        if number % 7 == 0:
            self.close_connection = True
        elif refused:
            hint = {} if service.flaw == "malformed" else {"Retry-After": "1"}
            self.answer(503, {}, **hint)
        else:
            receipt = {"id": "r", "object": f"s3://bucket/{key}", "count": len(lines)}
            first_line = 3 if struck and service.flaw == "misplaced" else 2
            said = {"accepted": len(lines), "receipts": [{**receipt, "first_line": first_line}]}
            self.answer(202, said)

    def go_wrong(self, key: str, lines: list[bytes]) -> None:
        """Do what the flaw names, as far as it is done to the bucket."""
        match self.server.flaw:
            case "twice" | "refused_but_stored":
                self.server.keep(f"{key}.again.gz", lines)
            case "altered":
                changed = [line.replace(b'"pad":"', b'"pad":"?') for line in lines]
                self.server.keep(key, [b"{}", *changed])

    def read_lines(self) -> list[bytes]:
        """Read a collection of any form."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        if self.headers["Content-Type"] == "application/x-ndjson":
            return body.splitlines()
        value = json.loads(body)
        payloads = value["payloads"] if isinstance(value, dict) else value
        return [json.dumps(payload, separators=(",", ":")).encode() for payload in payloads]

    def answer(self, status: int, said: object, **headers: str) -> None:
        """Send an answer."""
        body = json.dumps(said).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@contextlib.contextmanager
def simple_service(s3: FakeS3, client: Any, *, flaw: str = "") -> Iterator[SimpleService]:
    """Run the service."""
    with SimpleService(s3, client, flaw) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()
