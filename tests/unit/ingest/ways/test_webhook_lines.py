"""Webhook bodies: forms, arrays, kept headers, and the line that each becomes."""

import json
from datetime import UTC, datetime

import pytest

from app.http.problems import Problem
from app.ingest.formats.webhook_lines import FORM, body_id, kept_headers, read_payloads, to_lines


@pytest.mark.parametrize(
    ("body", "content_type", "payloads"),
    [
        (b'{"a": 1.0}', "application/json", [{"a": 1.0}]),
        (b'{\n"a": 1\n}', "text/plain; charset=UTF-8", [{"a": 1}]),
        (b'[{"a":1},5]', "application/json", [{"a": 1}, 5]),
        (b"text=hi%20%C3%A9&x=&x=2&x=3", FORM, [{"text": "hi é", "x": ["", "2", "3"]}]),
        (b"payload=%7B%22a%22%3A1%7D", FORM, [{"a": 1}]),
        (b"payload=1&b=2", FORM + "; charset=utf-8", [{"payload": "1", "b": "2"}]),
    ],
)
def test_bodies_of_senders(body: bytes, content_type: str, payloads: list[object]) -> None:
    """Objects, arrays, forms, and GitHub's form with JSON in it."""
    found = read_payloads(body, content_type=content_type)
    assert [json.loads(payload) for payload in found] == payloads


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"payload=%7B", FORM),
        (b"a" * 10, FORM),
        (b"&".join([b"a=1"] * 1001), FORM),
        (b"x", "multipart/form-data; boundary=x"),
        (b"[" * 100_000, "application/json"),
    ],
)
def test_what_is_no_webhook_body_is_refused(body: bytes, content_type: str) -> None:
    """Broken JSON and forms, nothing at all, and too much, are each a problem document."""
    with pytest.raises(Problem):
        read_payloads(body, content_type=content_type)


def test_a_line_says_where_it_came_from() -> None:
    """A line has the delivery's id, the headers to keep and the payload as it was sent."""
    headers = kept_headers(
        {"x-github-event": "push", "x-other": "no", "x-bad": "a\r\nInjected: 1"},
        ("X-GitHub-Event", "X-Bad", "X-Absent"),
    )
    lines = to_lines(
        [b'{"n": 1.50}'],
        stream="github",
        source="gh",
        id="72d3162e",
        headers=headers,
        limit=1 << 20,
        now=datetime(2026, 1, 2, tzinfo=UTC),
    )
    assert lines.lines == (
        b'{"received_at":"2026-01-02T00:00:00.000000+00:00","stream":"github","source":"gh",'
        b'"id":"72d3162e","headers":{"X-GitHub-Event":"push","X-Bad":"a\xef\xbf\xbd\xef\xbf\xbd'
        b'Injected: 1"},"payload":{"n": 1.50}}\n'
    )
    assert lines.count == 1


@pytest.mark.parametrize(
    ("payload", "found"), [(b'{"id":"evt_1"}', "evt_1"), (b'{"id":5}', None), (b"[1]", None)]
)
def test_stripe_s_delivery_is_named_in_its_body(payload: bytes, found: str | None) -> None:
    """The event's own id, where it is a string."""
    assert body_id(payload, "id") == found
