"""No answer names the software that it comes from, whichever part of a server made it."""

import pytest

from tests.acceptance.wire import JSON, Wire, chunked, head, post
from tests.support.service import Service

LAST = {"Connection": "close"}
EXPECT = {**JSON, **LAST, "Content-Length": "4", "Expect": "100-continue"}
REQUESTS = {
    "accepted": post(b"[{}]", headers=LAST),
    "chunked": head("POST", "/payloads", {**JSON, **LAST, "Transfer-Encoding": "chunked"})
    + chunked([b"[{}]"]),
    "after 100": head("POST", "/payloads", EXPECT) + b"[{}]",
    "refused": post(b"[", headers=LAST),
    "probe": head("GET", "/healthz", LAST),
    "HEAD": head("HEAD", "/healthz", LAST),
    "HTTP/1.0": b"GET /healthz HTTP/1.0\r\n\r\n",
    "Flask's route": head("GET", "/stats", LAST),
    "no route": head("GET", "/nowhere", LAST),
    "method": head("DELETE", "/payloads", LAST),
    "preflight": head("OPTIONS", "/payloads", LAST),
    "receipt": head("GET", "/receipts/x", LAST),
    "not HTTP": b"HELO brigade\r\n\r\n",
    "another version": b"GET / HTTP/2.0\r\n\r\n",
    "a wrong length": head("POST", "/payloads", {**JSON, "Content-Length": "-1"}),
    "an unknown coding": head("POST", "/payloads", {**JSON, "Transfer-Encoding": "rot13"}),
    "a long head": head("GET", "/", {"X": "x" * 60_000}),
    "many headers": head("GET", "/", {f"X-{number}": "" for number in range(150)}),
    "a long line": head("GET", "/" + "x" * 70_000),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_no_answer_names_the_server(service: Service, name: str) -> None:
    """`Server` is missing or empty, and no engine's name is in the head of an answer."""
    with Wire(service.port) as wire:
        wire.send(REQUESTS[name])
        answer = wire.answer()
        if answer.status == 100:
            answer = wire.answer()
    assert not answer.headers.get("Server")
    whole = str(answer.headers).lower()
    assert not any(word in whole for word in ("granian", "gunicorn", "werkzeug", "python"))
