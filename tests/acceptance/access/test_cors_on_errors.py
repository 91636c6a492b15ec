"""Every response to a page of an allowed origin has the headers that let the page read it."""

import gzip
import http.client
from collections.abc import Mapping

import pytest

from tests.acceptance.access.client import LIMITED, READER, WRITER, Client
from tests.acceptance.wire import Wire, chunked, head, post
from tests.support import wait_until
from tests.support.service import Answer

ORIGIN = "https://shop.example"
PATH = "/payloads/web-errors"
JSON = {"Content-Type": "application/json", "Origin": ORIGIN}
KEY = {**JSON, "Authorization": f"Bearer {WRITER}"}
CHUNKED = {**KEY, "Transfer-Encoding": "chunked"}


def whole(body: bytes, headers: Mapping[str, str]) -> bytes:
    """Write a POST with its length."""
    return post(body, PATH, headers)


CASES = {
    "no key": (401, whole(b"[{}]", JSON)),
    "unknown key": (401, whole(b"[{}]", {**JSON, "X-API-Key": "x"})),
    "wrong scope": (403, whole(b"[{}]", {**JSON, "X-API-Key": READER})),
    "not JSON": (400, whole(b"{", KEY)),
    "empty": (400, whole(b"", KEY)),
    "not gzip": (400, whole(b"[{}]", {**KEY, "Content-Encoding": "gzip"})),
    "broken chunks": (400, head("POST", PATH, CHUNKED) + b"4\r\n[{}]\r\nx\r\n"),
    "cut chunks": (400, head("POST", PATH, CHUNKED) + b"5\r\n[{}"),
    "cut short": (408, head("POST", PATH, {**KEY, "Content-Length": "9"}) + b"[{}"),
    "announced too large": (413, head("POST", PATH, {**KEY, "Content-Length": "999999999"})),
    "too large, asking first": (
        413,
        head("POST", PATH, {**KEY, "Content-Length": "13000000", "Expect": "100-continue"}),
    ),
    "too large when decoded": (
        413,
        whole(gzip.compress(b" " * 13_000_000), {**KEY, "Content-Encoding": "gzip"}),
    ),
    "chunks too large": (
        413,
        head("POST", PATH, CHUNKED) + chunked([b" " * 1_000_000] * 13),
    ),
    "unknown coding": (415, whole(b"[{}]", {**KEY, "Content-Encoding": "br"})),
    "wrong shape": (422, whole(b"[1]", KEY)),
}  # fmt: skip


def outcome(client: Client, request: bytes, *, cut: bool = False) -> Answer:
    """Send bytes, and no more where they are `cut`; read the final response."""
    with Wire(client.service.port) as wire:
        wire.send(request)
        if cut:
            wire.shut()
        answer = wire.answer()
        return wire.answer() if answer.status == 100 else answer


def assert_readable(headers: http.client.HTTPMessage) -> None:
    """See that a page may read a response and its headers, and a cache keeps it apart."""
    assert headers.get_all("Access-Control-Allow-Origin") == [ORIGIN]
    assert headers["Access-Control-Allow-Credentials"] == "true"
    assert "Retry-After" in headers["Access-Control-Expose-Headers"]
    assert headers.get_all("Vary") == ["Origin"]


@pytest.mark.parametrize("case", CASES)
def test_a_page_reads_each_refusal(client: Client, case: str) -> None:
    """Before the body, within it or after it: each has the headers, once."""
    status, request = CASES[case]
    cut = case.startswith("cut")
    answer = outcome(client, request, cut=cut)
    # Where a body breaks off, one server cannot tell it from one that is late.
    assert answer.status in ({400, 408} if cut else {status})
    assert_readable(answer.headers)
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_page_reads_that_it_sends_too_much(client: Client) -> None:
    """A 429 and its Retry-After are readable."""
    request = whole(b"[{}]", {**JSON, "X-API-Key": LIMITED})
    answers = {}

    def have_both() -> bool:
        # Another test may have used the key a moment ago.
        answer = outcome(client, request)
        answers[answer.status] = answer
        return answers.keys() == {202, 429}

    wait_until(have_both, timeout=30, what="a 202 and a 429")
    for answer in answers.values():
        assert_readable(answer.headers)
