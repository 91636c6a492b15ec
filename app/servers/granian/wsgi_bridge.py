"""Calls a WSGI application for a request of the engine's: PEP 3333 out of RSGI, in a thread.

For requests whose body is of no use: the application sees none.
"""

import io
import sys
from typing import Any

from app.http.responses import Answer

_OF_THE_BODY = frozenset({"content-length", "transfer-encoding", "content-encoding", "expect"})


def call_wsgi(application: Any, scope: Any) -> Answer:
    """Ask a WSGI application for its answer; blocks on it."""
    heads: list[tuple[int, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
        heads.append((int(status[:3]), headers))

    result = application(environ_of(scope), start_response)
    try:
        content = b"".join(result)
    finally:
        if hasattr(result, "close"):
            result.close()
    return Answer(*heads[-1], content)


def environ_of(scope: Any) -> dict[str, Any]:
    """Build a request's WSGI environment."""
    host, _, port = scope.server.rpartition(":")
    environ = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        # PEP 3333: bytes as if they were Latin-1.
        "PATH_INFO": _latin(scope.path),
        "QUERY_STRING": _latin(scope.query_string),
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        # An underscore would let a client write another header's name.
        if "_" not in name and name not in _OF_THE_BODY:
            key = _key(name)
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def _key(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if key == "CONTENT_TYPE" else f"HTTP_{key}"


def _latin(text: str) -> str:
    return text.encode().decode("latin-1")
