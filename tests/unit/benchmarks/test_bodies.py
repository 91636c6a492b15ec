"""Requests of the load: framed and compressed so that any HTTP server reads the same payloads."""

import gzip
import io
import json
from collections.abc import Callable
from http.client import HTTPResponse

import pytest
import zstandard

from benchmarks.load.bodies import Body, Coding, make_bodies, make_requests

DECODERS: dict[Coding, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.decompress,
    "zstd": zstandard.decompress,
}


class _Socket:
    """Gives `HTTPResponse`, which undoes chunks, the bytes that it would receive."""

    def __init__(self, received: bytes) -> None:
        self._received = received

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self._received)


def _body_of(request: bytes) -> bytes:
    """Return a request's body as the standard library reads its framing."""
    _, _, rest = request.partition(b"\r\n")
    response = HTTPResponse(_Socket(b"HTTP/1.1 200 OK\r\n" + rest))  # type: ignore[arg-type]
    response.begin()
    return response.read()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("coding", ["", "gzip", "zstd"])
def test_every_form_carries_the_same_payloads(coding: Coding, *, chunked: bool) -> None:
    """A compressed or chunked body decodes to the plain body of the same size."""
    decode = DECODERS[coding]
    requests = make_requests(Body(payloads=100, coding=coding, chunked=chunked))
    assert tuple(decode(_body_of(request)).decode() for request in requests) == make_bodies(100)


def test_streams_take_turns() -> None:
    """Each of the streams gets a request before any gets its second."""
    paths = [one.split(b" ", 2)[1] for one in make_requests(Body(payloads=6400), streams=3)]
    assert paths[:3] == [b"/payloads/s0", b"/payloads/s1", b"/payloads/s2"]


@pytest.mark.parametrize("payloads", [1, 10, 100])
def test_bodies_fill_more_than_the_window_of_gzip(payloads: int) -> None:
    """No body comes again within 32 KiB, or objects would compress to nearly nothing."""
    assert sum(map(len, make_bodies(payloads))) > 32 << 10


def test_a_body_has_as_many_payloads_as_asked_for() -> None:
    """What the table divides CPU by is what was sent."""
    assert {len(json.loads(body)["payloads"]) for body in make_bodies(10)} == {10}
