"""Bodies made to cost much, or to smuggle a key or broken text into an object."""

import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from app.access.rules import Endpoint, Webhook
from app.http.problems import NotJson, Problem, TooLarge
from app.ingest.formats.collection import Collection
from app.ingest.formats.endpoint_format import key_in, read_endpoint
from app.ingest.readers import read_endpoint_body, read_events, read_webhook
from tests.unit.ingest.samples import Head

LIMIT = 32 << 20
MIB = 1 << 20


def head_of(headers: dict[str, str]) -> Head:
    """Return a head whose headers were given as arguments are named."""
    return Head({name.replace("_", "-"): value for name, value in headers.items()})


def events(body: bytes, **headers: str) -> Collection:
    """Read a body of `/events`."""
    return read_events(body, head=head_of(headers), schema=None)


def endpoint(body: bytes, **options: Any) -> Collection:
    """Read the body of an endpoint."""
    rule = Endpoint(path="/x", stream="x", **{"payloads": "/batch", **options})
    return read_endpoint_body(body, endpoint=rule, schema=None, limit=LIMIT)


def webhook(body: bytes, *, limit: int = LIMIT, **headers: str) -> Collection:
    """Read a webhook that is not signed."""
    rule = Webhook(source="w", scheme="none", secrets=(), stream="w", headers=("X-Note",))
    found = read_webhook(
        body, webhook=rule, head=head_of(headers), inflate=lambda raw: raw, limit=limit
    )
    assert isinstance(found, Collection)
    return found


@pytest.mark.parametrize(
    ("read", "parts", "times"),
    [
        (events, (b"[", b"1,", b"1]"), 8 * MIB),
        (events, (b"", b"{}", b""), MIB),
        (events, (b"{}[", b"[],", b"1]"), 2 * MIB),
        (events, (b'{}{"a":[', b"1,", b"1]}"), 2 * MIB),
        (endpoint, (b'{"batch":[', b"{},", b"{}]}"), 2 * MIB),
        (endpoint, (b'{"batch":[{}]', b',"a":1', b"}"), 2 * MIB),
        (webhook, (b"[", b"1,", b"1]"), 8 * MIB),
    ],
    ids=["array", "row", "empty-arrays", "numbers", "batch", "members", "webhook"],
)
def test_many_values_are_refused_before_they_cost(
    read: Callable[[bytes], Collection], parts: tuple[bytes, bytes, bytes], times: int
) -> None:
    """Millions of tiny values are a 413, with a few times the body in memory at most."""
    before, repeated, after = parts
    body = before + repeated * times + after
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="send less at once"):
            read(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 150 * MIB


def test_an_envelope_is_not_multiplied() -> None:
    """Large members beside many payloads would make an object of terabytes: a 413."""
    body = json.dumps({"batch": [{}] * 100_000, "pad": "x" * 100_000}).encode()
    with pytest.raises(TooLarge, match="With their envelopes"):
        endpoint(body, envelope=True)
    assert endpoint(body).count == 100_000
    with pytest.raises(TooLarge, match="With their envelopes"):
        webhook(b"[" + b"1," * 10_000 + b"1]", limit=MIB, x_note="n" * 4000)


@pytest.mark.parametrize("payloads", ["", "/event"])
def test_a_key_inside_the_payload_is_not_stored(payloads: str) -> None:
    """Where the payload is the body, or the member that has the key, the key is left out."""
    event = b'{"api_key":"secret","api_key":"secret","n":1.50}'
    body = event if not payloads else b'{"event":' + event + b"}"
    found = read_endpoint(
        body, payloads=payloads, key=payloads + "/api_key", envelope=False, limit=LIMIT
    )
    assert found.lines == b'{"n":1.50}\n'


def test_lone_surrogates_are_kept_in_every_way() -> None:
    """An emoji that JavaScript cut in two is stored as it came, and hides no key."""
    cut = b'{"a":"\\ud83d","n":1}'
    assert events(cut).lines == cut + b"\n"
    assert events(cut * 2).lines == (cut + b"\n") * 2
    assert endpoint(b'{"batch":[' + cut + b"]}").lines == cut + b"\n"
    assert webhook(b"[" + cut + b",1]").lines.count(b'"payload":' + cut + b"}\n") == 1
    assert key_in(b'{"key":"k","batch":[' + cut + b"]}", "/key") == "k"


@pytest.mark.parametrize("kind", ["application/json", "", "text/plain"])
def test_no_broken_utf8_reaches_a_line(kind: str) -> None:
    """An event in binary mode with JSON that is not UTF-8 is refused, or stored as base64."""
    attributes = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "s", "ce_type": "t"}
    body = b'{"a":"\xff"}'
    if kind == "application/json":
        with pytest.raises(NotJson):
            events(body, content_type=kind, **attributes)
    else:
        line = events(body, content_type=kind, **attributes).lines
        assert "data_base64" in json.loads(line.decode())


def test_a_form_s_content_is_in_no_problem() -> None:
    """A problem's detail goes to the log, and a form may hold anything."""
    with pytest.raises(Problem) as caught:
        webhook(b"hunter2" * 1000, content_type="application/x-www-form-urlencoded")
    assert "hunter2" not in caught.value.detail


def test_an_id_is_bounded_and_clean() -> None:
    """Control characters and kilobytes in a kept header stay out of a line."""
    [line] = webhook(b"{}", x_note="a\x00\x1b" + "b" * 40_000).lines.splitlines()
    note = json.loads(line)["headers"]["X-Note"]
    assert note.startswith("a\ufffd\ufffdb")
    assert len(note) == 4096


@pytest.mark.parametrize(
    "unit", [b"[", b'{"a":', b'{"a":1}' * 8 + b"\n", b"1" * 64, b'"', b"{}\n\n\n\n"]
)
def test_reading_takes_time_in_proportion_to_the_body(unit: bytes) -> None:
    """Eight times the body takes no more than some eight times as long: nothing is quadratic."""

    def cpu(size: int) -> float:
        body = unit * (size // len(unit)) + b"{}x"
        began = time.process_time()
        with pytest.raises(Problem):
            events(body)
        return time.process_time() - began

    short = min(cpu(128 << 10) for _ in range(3))
    assert min(cpu(1 << 20) for _ in range(2)) < 30 * short + 0.05


def test_an_integer_of_any_length_is_a_number() -> None:
    """What `/payloads` stores `/events` stores too, in a row of values as well."""
    body = b'{"n":' + b"9" * 10_000 + b"}"
    assert events(body * 2).lines == (body + b"\n") * 2
