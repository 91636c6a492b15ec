"""Requests that are unusual and right all the same."""

import gzip
import json
import time

import pytest

from tests.acceptance.hostile.samples import REQUEST_SECONDS, nothing_accepted
from tests.acceptance.service import ServiceFactory, settle
from tests.acceptance.wire import JSON, Wire, chunked, head, post, problem
from tests.support.s3 import FakeS3
from tests.support.service import Service


def test_pipelined_requests_are_answered_in_order(service: Service) -> None:
    """Requests sent in one go, bodies and all, each get their answer, in turn (RFC 9112, 9.3.2)."""
    requests = [
        post(b"[{}]", path=f"/payloads/{name}", headers={"X-Request-ID": name}) for name in "abc"
    ]
    odd = [post(b"[", headers={"X-Request-ID": "d"}), head("GET", "/x", {"X-Request-ID": "e"})]
    with Wire(service.port) as wire:
        wire.send(b"".join([*requests, *odd, post(b"[{}]", headers={"X-Request-ID": "f"})]))
        answers = [wire.answer() for _ in range(6)]
    assert [answer.status for answer in answers] == [202, 202, 202, 400, 404, 202]
    assert [answer.headers["X-Request-ID"] for answer in answers] == list("abcdef")


def test_a_connection_lives_on_after_a_refusal(service: Service) -> None:
    """What is left of a refused body never passes for the next request."""
    smuggled = post(b'[{"smuggled":1}]')
    with nothing_accepted(service), Wire(service.port) as wire:
        for path, status in (("/nowhere", 404), ("/stats", 405), ("/payloads/NO", 404)):
            wire.send(post(smuggled, path=path))
            problem(wire.answer(), status)


def test_chunked_uploads_are_stored_as_sent(service: Service, bucket: FakeS3) -> None:
    """A body in chunks, even of one byte each, is the same body."""
    body = b'[{"chunk":"\xc3\xbc"},{"chunk":2}]'
    with Wire(service.port) as wire:
        wire.send(head("POST", "/payloads/chunks", {**JSON, "Transfer-Encoding": "chunked"}))
        wire.send(chunked([body[at : at + 1] for at in range(len(body))]))
        answer = wire.answer()
    assert answer.status == 202
    assert answer.json()["accepted"] == 2
    settle(service)
    lines = [line for key, _, line in bucket.lines() if key.startswith("chunks/")]
    assert [json.loads(line) for line in lines] == json.loads(body)


def test_a_body_that_comes_slowly_but_in_time_is_accepted(service: Service) -> None:
    """Pieces with pauses are fine within `REQUEST_SECONDS`."""
    body = b'[{"slow":1}]'
    with Wire(service.port) as wire:
        wire.send(head("POST", "/payloads", {**JSON, "Content-Length": str(len(body))}))
        for at in range(0, len(body), 4):
            time.sleep(REQUEST_SECONDS / 20)
            wire.send(body[at : at + 4])
        assert wire.answer().status == 202


def test_a_client_may_ask_before_it_sends(service: Service) -> None:
    """`Expect: 100-continue` gets its 100 first (RFC 9110 section 10.1.1)."""
    with Wire(service.port) as wire:
        wire.send(
            head("POST", "/payloads", {**JSON, "Content-Length": "4", "Expect": "100-continue"})
        )
        assert wire.answer().status == 100
        wire.send(b"[{}]")
        assert wire.answer().status == 202


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head("GET", "/healthz?x=\u20ac".encode().decode("latin-1")), None),
        (post(b"[{}]", headers={"Content-Encoding": "gzip\xff"}), 415),
        (post(b"[{}]", headers={"Content-Type": "application/json; x=\xe9"}), None),
        (head("POST", "/payloads", {**JSON, "Content-Length": "0" * 5000 + "4"}) + b"[{}]", None),
    ],
    ids=["a query", "a coding", "a type", "a length"],
)
def test_odd_bytes_in_a_head_are_no_fault_of_ours(
    service: Service, sent: bytes, status: int | None
) -> None:
    """What is not ASCII, or absurdly long, is served or refused, and never taken for absent."""
    with Wire(service.port) as wire:
        wire.send(sent)
        answer = wire.answer()
    assert answer.status == status or (status is None and answer.status < 500)


def test_an_old_client_is_served(service: Service) -> None:
    """HTTP/1.0 without a Host gets its answer, and the line is closed."""
    with Wire(service.port) as wire:
        wire.send(
            b"POST /payloads HTTP/1.0\r\nContent-Type: application/json\r\n"
            b"Content-Length: 4\r\n\r\n[{}]"
        )
        assert wire.answer().status == 202
        assert wire.is_closed()


def test_a_header_cannot_break_the_log_or_the_answer(service_factory: ServiceFactory) -> None:
    """What a client writes into a header or a path never becomes a line or a header of ours."""
    service = service_factory.start(LOG_LEVEL="debug")
    evil = '"}{"level":"FORGED\u00a0\x7f'
    for path in ("/payloads/%0A%7B%22level%22%3A%22FORGED%22%7D", "/payloads"):
        with Wire(service.port) as wire:
            wire.send(post(b"[", path=path, headers={"X-Request-ID": evil}))
            answer = wire.answer()
        assert answer.status in {400, 404}
        assert "FORGED" not in str(answer.headers)
    assert not service.logs().raw
    assert all(event["level"] != "FORGED" for event in service.logs().events)


def test_forwarding_headers_change_nothing(service: Service) -> None:
    """Not even where they contradict each other, and come from loopback."""
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "off", "X-Forwarded-For": "::1"}
    with Wire(service.port) as wire:
        wire.send(post(b"[{}]", headers={**headers, "SCRIPT_NAME": "/x", "PATH_INFO": "/y"}))
        assert wire.answer().status == 202


@pytest.mark.parametrize("coding", ["", "gzip"])
@pytest.mark.parametrize(
    ("first", "last", "status"),
    [
        ("application/json", "application/json", 202),
        ("application/json", "text/plain", 202),
        ("text/plain", "application/json", 415),
    ],
)
def test_of_two_content_types_the_first_counts(
    service: Service, server_mode: str, coding: str, *, first: str, last: str, status: int
) -> None:
    """One rule for plain and for compressed bodies; gunicorn's parser refuses both."""
    body = gzip.compress(b"[{}]") if coding else b"[{}]"
    fields = {"Content-Length": str(len(body)), "Content-Type": first}
    if coding:
        fields["Content-Encoding"] = coding
    lines = head("POST", "/payloads", fields)[:-2]
    with Wire(service.port) as wire:
        wire.send(lines + f"Content-Type: {last}\r\n\r\n".encode() + body)
        assert wire.answer().status == (status if server_mode == "engine" else 400)


def test_two_content_codings_are_a_415(service: Service) -> None:
    """In two headers they are a list, as in one (RFC 9110 section 5.3)."""
    body = gzip.compress(gzip.compress(b"[{}]"))
    fields = {"Content-Length": str(len(body)), **JSON, "Content-Encoding": "gzip"}
    lines = head("POST", "/payloads", fields)[:-2]
    with Wire(service.port) as wire:
        wire.send(lines + b"Content-Encoding: gzip\r\n\r\n" + body)
        problem(wire.answer(), 415)
