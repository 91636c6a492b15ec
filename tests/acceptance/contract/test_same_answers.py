"""Both servers give byte for byte the same answers, but for what each request makes anew."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.service import SERVERS, ServiceFactory
from tests.acceptance.wire import JSON, Wire, chunked, head, post
from tests.support.s3 import FakeS3
from tests.support.service import Answer, Service

GZIP = {**JSON, "Content-Encoding": "gzip"}
NDJSON = {"Content-Type": "application/x-ndjson"}
CHUNKED = {**JSON, "Transfer-Encoding": "chunked"}
# They are the servers' own (docs/http.md).
SERVERS_OWN = {"server", "date", "connection", "keep-alive"}

REQUESTS = {
    "plain": post(b'[{"n":1}]', path="/payloads/orders"),
    "envelope": post(b'{"version":"1","payloads":[{"n":1},{}]}'),
    "gzip": post(gzip.compress(b"[{}]"), headers=GZIP),
    "chunked": head("POST", "/payloads", CHUNKED) + chunked([b"[{", b"}]"]),
    "ndjson": post(b"{}\n{}\n", headers=NDJSON),
    "large": post(b"[{}]".rjust(400_000)),
    "lone surrogate": post(rb'[{"a":"\ud83d"}]'),
    "not JSON": post(b"[{'a':1}]"),
    "wrong shape": post(b'{"payloads":[{},1,2],"x":3}'),
    "no payloads": post(b"[]"),
    "no body": head("POST", "/payloads", JSON),
    "no type": head("POST", "/payloads", {"Content-Length": "4"}) + b"[{}]",
    "another coding": post(b"[{}]", headers={"Content-Encoding": "br"}),
    "not gzip": post(b"[{}]", headers=GZIP),
    "too large": post(b" " * 1_100_000),
    "too large when decoded": post(gzip.compress(b" " * 1_100_000), headers=GZIP),
    "too large to send": head("POST", "/payloads", {**JSON, "Content-Length": str(1 << 40)}),
    "stream": post(b"[{}]", path="/payloads/NO"),
    "slash": post(b"[{}]", path="/payloads/"),
    "route": head("GET", "/nowhere"),
    "route with a body": post(b"[{}]", path="/nowhere"),
    "method": head("PUT", "/payloads", {"Content-Length": "0"}),
    "GET": head("GET", "/payloads"),
    "OPTIONS": head("OPTIONS", "/payloads"),
    "receipt": head("GET", "/receipts/x"),
    "healthz": head("GET", "/healthz"),
    "readyz": head("GET", "/readyz"),
    "healthz with a body": post(b"x", path="/healthz"),
}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Service]]:
    """Run one process under each server, on one bucket."""
    directory: Path = tmp_path_factory.mktemp("same")
    with FakeS3() as s3:
        factories = [
            ServiceFactory(directory / server, s3, server_mode=server) for server in SERVERS
        ]
        for server in SERVERS:
            (directory / server).mkdir()
        with factories[0], factories[1]:
            yield [each.start(MAX_BODY_BYTES=1 << 20) for each in factories]


def ask(service: Service, sent: bytes, *, to_head: bool = False) -> Answer:
    """Send a request and return its answer."""
    with Wire(service.port) as wire:
        wire.send(sent.replace(b"\r\n\r\n", b"\r\nX-Request-ID: same\r\n\r\n", 1))
        return wire.answer(to_head=to_head)


def comparable(answer: Answer) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return an answer without what is made anew for each: names and MACs, and the server's own."""
    headers = [
        (name.lower(), value)
        for name, value in answer.headers.items()
        if name.lower() not in SERVERS_OWN
    ]

    def blank(text: str) -> str:
        text = re.sub(r"[A-Za-z0-9_-]{60,}\.\d+\.\d+\.[0-9a-f]{24}", "RECEIPT", text)
        text = re.sub(r"\d{8}T\d{12}Z-[0-9a-f]{16}", "SEGMENT", text)
        text = re.sub(r"hour=\d\d", "hour=", text)
        text = re.sub(r'"first_line":\d+', '"first_line":', text)
        return ", ".join(sorted(text.split(", "))) if text.isupper() else text

    plain = sorted((name, blank(value)) for name, value in headers if name != "content-length")
    return answer.status, plain, blank(answer.body.decode()).encode()


@pytest.mark.parametrize("name", REQUESTS)
def test_an_answer_does_not_depend_on_the_server(services: list[Service], name: str) -> None:
    """Status, headers and body."""
    first, second = (comparable(ask(each, REQUESTS[name])) for each in services)
    assert first == second


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/nowhere", "/payloads", "/receipts/x"])
def test_nor_does_one_to_head(services: list[Service], path: str) -> None:
    """Its length is that of the body which it leaves out."""
    sent = head("HEAD", path)
    answers = [ask(each, sent, to_head=True) for each in services]
    first, second = map(comparable, answers)
    assert first == second
    assert answers[0].headers["Content-Length"] == answers[1].headers["Content-Length"] != "0"
