"""Bodies that are large, deep or inflate: the cost is bounded, and others get an answer."""

import contextlib
import gzip
from collections.abc import Callable

import pytest
import zstandard
from isal import igzip, isal_zlib

from tests.acceptance.hostile.samples import (
    CHUNKED,
    MIB,
    NDJSON,
    nothing_accepted,
)
from tests.acceptance.service import ServiceFactory, assert_promise_kept, settle
from tests.acceptance.wire import JSON, Wire, head, post, problem
from tests.support.flood import Flood, Plan
from tests.support.s3 import FakeS3
from tests.support.service import Service


def zeros_gzip(size: int) -> bytes:
    """Return `size` zero bytes in gzip."""
    return igzip.compress(bytes(size), 1)


def zeros_gzip_members(size: int) -> bytes:
    """Return `size` zero bytes in many members of gzip (RFC 1952 section 2.2)."""
    return gzip.compress(bytes(MIB)) * (size // MIB)


def zeros_deflate(size: int) -> bytes:
    """Return `size` zero bytes in zlib's format."""
    return isal_zlib.compress(bytes(size), 1)


def zeros_zstd(size: int) -> bytes:
    """Return `size` zero bytes in zstd."""
    return zstandard.compress(bytes(size), 3)


@pytest.mark.parametrize(
    ("coding", "bomb"),
    [
        ("gzip", zeros_gzip),
        ("gzip", zeros_gzip_members),
        ("deflate", zeros_deflate),
        ("zstd", zeros_zstd),
    ],
)
def test_a_bomb_is_a_413_and_costs_next_to_nothing(
    service: Service, coding: str, bomb: Callable[[int], bytes]
) -> None:
    """256 MiB of zeroes in a small body stop at the limit, and memory hardly grows."""
    body = bomb(256 * MIB)
    assert len(body) < MIB
    before = service.rss_bytes()
    with nothing_accepted(service):
        for _ in range(3):
            problem(service.post("/payloads", body, headers={"Content-Encoding": coding}), 413)
    assert service.rss_bytes() - before < 64 * MIB


def test_bombs_from_all_sides_cost_no_more(service: Service) -> None:
    """Eight bombs at once, one for every thread, are decoded in turn."""
    body = zeros_gzip(256 * MIB)
    request = post(body, headers={"Content-Encoding": "gzip"})
    before = service.rss_bytes()
    with nothing_accepted(service), contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(service.port)) for _ in range(8)]
        for wire in wires:
            wire.send(request)
        for wire in wires:
            problem(wire.answer(), 413)
    assert service.rss_bytes() - before < 96 * MIB


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 5_000_000, id="arrays"),
        pytest.param(b'{"a":' * 1_000_000, id="objects"),
        pytest.param(b'[{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]", id="in a payload"),
        pytest.param(b'{"token":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="in the token"),
        pytest.param(b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="in an unknown member"),
    ],
)
def test_depth_is_a_400(service: Service, body: bytes) -> None:
    """JSON nested 100,000 deep and more is refused, wherever it is, and ends no process."""
    children = service.children()
    with nothing_accepted(service):
        problem(service.post("/payloads", body), 400)
    assert service.children() == children


def test_a_million_faults_are_not_all_listed(service: Service) -> None:
    """The answer to a body full of mistakes stays small."""
    with nothing_accepted(service):
        answer = service.post("/payloads", b"[" + b"1," * 999_999 + b"1]")
    assert len(problem(answer, 422)["errors"]) <= 100
    assert len(answer.body) < 64_000


def test_a_body_over_the_limit_is_refused_before_it_is_sent(service: Service) -> None:
    """The length alone is enough for a 413."""
    with nothing_accepted(service), Wire(service.port) as wire:
        wire.send(head("POST", "/payloads", {**JSON, "Content-Length": str(1 << 40)}))
        problem(wire.answer(), 413)


def test_an_endless_body_is_cut_off(service: Service) -> None:
    """A chunked body that never ends is read no further than the limit, then the line is closed."""
    before = service.rss_bytes()
    megabyte = b"100000\r\n" + b" " * MIB + b"\r\n"
    with nothing_accepted(service), Wire(service.port) as wire:
        wire.send(head("POST", "/payloads", CHUNKED))
        with contextlib.suppress(ConnectionError, TimeoutError):
            for _ in range(200):
                wire.send(megabyte)
                if wire.has_news(0):
                    break
        with contextlib.suppress(ConnectionError):
            problem(wire.answer(), 413)
    assert service.rss_bytes() - before < 96 * MIB


@pytest.mark.parametrize("durability", ["disk", "memory"], indirect=True)
def test_10_mb_in_one_request_is_stored_whole(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """With default settings a collection of 10 MB is one 202, and all of it is stored, once."""
    service = service_factory.start(DURABILITY=durability)
    flood = Flood(service.port, Plan(threads=1, requests=1, payloads=10_000, pad_bytes=1000)).run()
    assert flood.statuses == {202: 1}
    assert_promise_kept(service, s3, flood)


@pytest.mark.parametrize("line", [b'{"a":1}\n', b"{}\n"])
def test_a_body_of_tiny_payloads_is_stored_or_refused_whole(service: Service, line: bytes) -> None:
    """As many payloads as fit into 4 MB cost a bounded amount of memory."""
    before, accepted = service.rss_bytes(), settle(service)["accepted"]
    count = 4_000_000 // len(line)
    answer = service.post("/payloads/tiny", line * count, headers=NDJSON)
    assert answer.status in {202, 413}
    stats = settle(service)
    assert stats["accepted"] - accepted == (count if answer.status == 202 else 0)
    assert service.rss_bytes() - before < 128 * MIB
