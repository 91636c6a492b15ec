"""A server of pages, which has two names and so is two origins. Knows no service."""

import http.server
import threading
from typing import Self

from tests.support.s3 import LOOPBACK


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = self.server.pages.get(self.path)  # type: ignore[attr-defined]
        self.send_response(200 if page is not None else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write((page or "").encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Pages:
    """Serves pages on loopback, as a context manager."""

    def __init__(self) -> None:
        self._server = http.server.ThreadingHTTPServer((LOOPBACK, 0), _Handler)
        self._server.pages = {}  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, name="pages")
        port = self._server.server_address[1]
        self.allowed, self.other = f"http://localhost:{port}", f"http://{LOOPBACK}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def put(self, path: str, page: str) -> None:
        """Have a page served."""
        self._server.pages[path] = page  # type: ignore[attr-defined]
