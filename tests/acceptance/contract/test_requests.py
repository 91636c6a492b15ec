"""The contract around a request: ids, headers, what is no HTTP, the types of answers."""

import pytest

from tests.acceptance.wire import Wire, ask, head, post
from tests.support.service import Service


def test_the_request_id_comes_back(service: Service) -> None:
    """An `X-Request-ID` is repeated on 202, on errors and on reads."""
    headers = {"X-Request-ID": "order-7:A/b=c+d.e_f"}
    answers = [
        service.post("/payloads", [{}], headers=headers),
        service.post("/payloads", b"", headers=headers),
        ask(service.port, "GET", "/nowhere", headers=headers),
        ask(service.port, "GET", "/stats", headers=headers),
    ]
    assert [answer.status for answer in answers] == [202, 400, 404, 200]
    assert {answer.headers["X-Request-ID"] for answer in answers} == {"order-7:A/b=c+d.e_f"}


@pytest.mark.parametrize("sent", [None, "", "with blank", '"}{', "x" * 129])
def test_a_request_id_is_made_where_none_can_be_used(service: Service, sent: str | None) -> None:
    """Without an id, or with one that is unsafe to repeat, the answer has a new one each time."""
    headers = {} if sent is None else {"X-Request-ID": sent}
    answers = [ask(service.port, "GET", "/healthz", headers=headers) for _ in range(2)]
    made = {answer.headers["X-Request-ID"] for answer in answers}
    assert len(made) == 2
    assert sent not in made


def test_large_headers_are_tolerated(service: Service) -> None:
    """Cookies and tracing headers of several KiB change nothing."""
    headers = {f"X-Trace-{n}": "x" * 1000 for n in range(30)} | {"Cookie": "c" * 8000}
    answer = service.post("/payloads", [{}], headers=headers)
    assert answer.status == 202


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(head("GET", "/healthz", {"X-Big": "x" * 100_000}), id="a huge header"),
        pytest.param(
            head("GET", "/healthz", {f"X-{n}": "x" for n in range(500)}), id="500 headers"
        ),
        pytest.param(head("GET", "/healthz?" + "q" * 100_000), id="a huge path"),
        pytest.param(b"GARBAGE\r\n\r\n", id="no HTTP"),
        pytest.param(b"GET /healthz HTTP/9.9\r\n\r\n", id="HTTP/9.9"),
        pytest.param(head("GET", "/healthz", {"Bad Name": "x"}), id="a bad header"),
        pytest.param(
            post(b"[{}]", headers={"Transfer-Encoding": "chunked"}), id="two lengths at once"
        ),
        pytest.param(head("POST", "/payloads", {"Content-Length": "many"}), id="no length"),
    ],
)
def test_what_is_no_request_of_http_gets_no_html(service: Service, sent: bytes) -> None:
    """A request that gunicorn refuses by itself is answered 4xx or 5xx like any other: no HTML."""
    with Wire(service.port) as wire:
        wire.send(sent)
        answer = wire.answer()
    assert 400 <= answer.status < 600
    assert b"<html" not in answer.body.lower()
    assert "html" not in answer.headers.get("Content-Type", "")
    assert service.get("/healthz").status == 200


def test_no_answer_is_html(service: Service) -> None:
    """Even where nothing else is said about an answer it is JSON, a problem, or metrics."""
    types = {
        ask(service.port, method, path).headers.get("Content-Type", "").partition(";")[0]
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE")
        for path in ("/", "/payloads", "/receipts", "/receipts/x", "/stats", "/metrics", "/%00")
    }
    assert types == {"application/json", "application/problem+json", "text/plain"}
