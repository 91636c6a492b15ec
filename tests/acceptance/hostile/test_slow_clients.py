"""Clients that are slow, stall or leave: they get an error, and others get an answer."""

import contextlib
import math
import os
import resource
import socket
import struct
import time

import pytest

from tests.acceptance.hostile.samples import (
    CHUNKED,
    LINE,
    MAX_WAIT,
    MIB,
    NDJSON,
    REQUEST_SECONDS,
    nothing_accepted,
)
from tests.acceptance.service import ServiceFactory, settle
from tests.acceptance.wire import JSON, Wire, head, post, problem
from tests.support import wait_until
from tests.support.s3 import FakeS3
from tests.support.service import Service


def test_slow_headers_delay_no_other_for_long(service: Service) -> None:
    """More slow clients than threads are disconnected in time, and a good client is served."""
    with contextlib.ExitStack() as stack:
        slow_clients = [stack.enter_context(Wire(service.port)) for _ in range(12)]
        for client in slow_clients:
            client.send(b"POST /payloads HTTP/1.1\r\nHost: brigade\r\nX-Slow: ")
        started = time.monotonic()
        assert service.post("/payloads", [{}]).status == 202
        assert time.monotonic() - started < MAX_WAIT
        for client in slow_clients:
            with contextlib.suppress(EOFError, ConnectionError):
                assert client.answer().status in {400, 408}
        assert time.monotonic() - started < 2 * MAX_WAIT


def test_a_header_a_drop_at_a_time_has_the_same_deadline(service: Service) -> None:
    """The time is for the whole request: more bytes now and then do not buy more of it."""
    with Wire(service.port) as wire:
        wire.send(b"GET /healthz HTTP/1.1\r\n")
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - started < MAX_WAIT:
                wire.send(b"X-Slow: x\r\n")
                if wire.has_news(0.1):
                    break
        with contextlib.suppress(EOFError, ConnectionError):
            assert wire.answer().status in {400, 408}
    assert time.monotonic() - started < MAX_WAIT


# However much like a whole one it looks, each of these is half a body.
HALVES = {
    "no body": head("POST", "/payloads", {**JSON, "Content-Length": "9"}),
    "half JSON": head("POST", "/payloads", {**JSON, "Content-Length": "999"}) + b'[{"a":',
    "whole JSON": head("POST", "/payloads", {**JSON, "Content-Length": "99"}) + b"[{}]",
    "whole lines": head("POST", "/payloads", {**NDJSON, "Content-Length": "999"}) + LINE,
    "whole chunks": head("POST", "/payloads", CHUNKED) + b"b\r\n" + LINE + b"\r\n",
    "half a chunk": head("POST", "/payloads", CHUNKED) + b"ff\r\n" + LINE,
}


def test_a_body_that_stalls_is_a_408(service: Service) -> None:
    """Within about `REQUEST_SECONDS` the client is answered, and nothing is kept."""
    with nothing_accepted(service), contextlib.ExitStack() as stack:
        started = time.monotonic()
        wires = {name: stack.enter_context(Wire(service.port)) for name in HALVES}
        for name, wire in wires.items():
            wire.send(HALVES[name])
        for wire in wires.values():
            problem(wire.answer(), 408)
            assert REQUEST_SECONDS / 2 < time.monotonic() - started < MAX_WAIT


@pytest.mark.parametrize("name", HALVES)
def test_a_body_that_ends_too_soon_is_a_408(service: Service, name: str, server_mode: str) -> None:
    """A connection closed on one side is answered on the other, and nothing is kept.

    The engine does not tell chunks that end from chunks that are none, which are a 400.
    """
    with nothing_accepted(service), Wire(service.port) as wire:
        wire.send(HALVES[name])
        wire.shut()
        problem(wire.answer(), 400 if server_mode == "engine" and "chunk" in name else 408)


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("reset", [False, True])
def test_half_a_body_is_forgotten_where_the_client_leaves(
    service: Service, name: str, *, reset: bool
) -> None:
    """Nothing is kept, and nothing is an error of ours."""
    with nothing_accepted(service):
        for _ in range(10):
            with Wire(service.port) as wire:
                wire.send(HALVES[name])
                if reset:
                    wire.set_option(socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_stalled_bodies_delay_no_other_for_long(service: Service) -> None:
    """More stalled uploads than threads end in time, and a good client is served."""
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            wire = stack.enter_context(Wire(service.port))
            wire.send(head("POST", "/payloads", {**JSON, "Content-Length": "99"}) + b"[")
        started = time.monotonic()
        assert service.post("/payloads", [{}]).status == 202
        assert time.monotonic() - started < MAX_WAIT


def test_idle_connections_take_no_thread(service_factory: ServiceFactory) -> None:
    """A client is served although a hundred connections say nothing, for longer than it waits."""
    longer = math.ceil(2 * MAX_WAIT)
    service = service_factory.start(
        REQUEST_SECONDS=longer, GUNICORN_CMD_ARGS=f"--keep-alive {longer}"
    )
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(Wire(service.port))
        assert service.post("/payloads", [{}], timeout=MAX_WAIT).status == 202


def test_clients_that_leave_early_do_no_harm(
    service_factory: ServiceFactory,
) -> None:
    """Whole requests whose clients are gone are stored or not; the ledger balances all the same."""
    service = service_factory.start()
    for _ in range(50):
        with Wire(service.port) as wire:
            wire.send(post(b"[{}]"))
            wire.set_option(socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert service.post("/payloads", [{}]).status == 202
    service.terminate()
    assert service.wait(30) == 0
    service.start()
    service.wait_ready()
    stats = service.stats()
    assert 1 <= stats["accepted"] <= 51
    assert stats["accepted"] == stats["stored"]


# gthread has one pool for all; there they wait until the stalled ones are let go, see above.
@pytest.mark.parametrize("server_mode", ["engine"], indirect=True, scope="package")
def test_probes_do_not_wait_for_stalled_bodies(service_factory: ServiceFactory) -> None:
    """More stalled uploads than there are threads keep neither a probe nor a small POST waiting."""
    service = service_factory.start(REQUEST_SECONDS=math.ceil(2 * MAX_WAIT))
    stalled = head(
        "POST", "/payloads", {**JSON, "Content-Length": "99", "Content-Encoding": "gzip"}
    )
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            wire = stack.enter_context(Wire(service.port))
            wire.send(stalled + b"x")
        for _ in range(5):
            assert service.get("/healthz", timeout=MAX_WAIT).status == 200
            assert service.post("/payloads", [{}], timeout=MAX_WAIT).status == 202


def test_a_body_in_tiny_pieces_takes_no_more_room_than_it_has(service: Service) -> None:
    """Forty clients that send a byte at a time cost a few bytes for each."""
    whole = 65_536
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(service.port)) for _ in range(40)]
        for wire in wires:
            wire.set_option(socket.TCP_NODELAY, struct.pack("i", 1), level=socket.IPPROTO_TCP)
            wire.send(head("POST", "/payloads", {**JSON, "Content-Length": str(whole)}))
        before = service.rss_bytes()
        with contextlib.suppress(OSError):
            for _ in range(500):
                for wire in wires:
                    wire.send(b" ")
        assert service.rss_bytes() - before < 24 * MIB


@pytest.mark.parametrize("name", ["half JSON", "half a chunk"])
def test_clients_that_leave_leave_nothing_behind(service: Service, name: str) -> None:
    """Thousands of broken-off requests cost no memory that stays."""

    def break_off(times: int) -> None:
        for _ in range(times):
            with Wire(service.port) as wire:
                wire.send(HALVES[name])
        assert service.post("/payloads", [{}]).status == 202

    # By then pools and heaps are as large as they will be.
    break_off(2000)
    before = service.rss_bytes()
    break_off(4000)
    assert service.rss_bytes() - before < 4 * MIB


def test_who_does_not_read_is_let_go(service_factory: ServiceFactory) -> None:
    """A client that reads no answers loses its connection in time, and others are served again."""
    service = service_factory.start(
        REQUEST_SECONDS=1, GUNICORN_CMD_ARGS="--threads 2 --worker-connections 5 --keep-alive 1"
    )
    flood = head("GET", "/metrics") * 2000
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            wire = stack.enter_context(Wire(service.port, small_segments=True))
            wire.set_option(socket.SO_RCVBUF, struct.pack("i", 4096))
            with contextlib.suppress(OSError):
                wire.send_what_goes(flood)
        wait_until(lambda: is_served(service), timeout=2 * MAX_WAIT, what="an answer")


def is_served(service: Service) -> bool:
    """Whether a new client is answered."""
    with contextlib.suppress(OSError):
        return service.get("/healthz", timeout=1).status == 200
    return False


def test_descriptors_that_run_out_come_back(service_factory: ServiceFactory, s3: FakeS3) -> None:
    """A process that could open nothing refuses; with room again it accepts, without a restart."""
    service_factory.expect_errors(
        "commit failed", "upload failed", "sealer failed", "adopter failed"
    )
    service_factory.expect_errors("request failed", "put failed")
    service = service_factory.start(DURABILITY="disk")
    assert service.post("/payloads/before", [{}]).status == 202
    (child,) = service.children()
    _, hard = resource.prlimit(child, resource.RLIMIT_NOFILE)
    used = len(os.listdir(f"/proc/{child}/fd"))
    resource.prlimit(child, resource.RLIMIT_NOFILE, (used + 2, hard))
    with Wire(service.port) as wire:
        for number in range(10):
            wire.send(post(b"[{}]", path=f"/payloads/s{number}"))
            assert wire.answer().status in {202, 500, 503}
    resource.prlimit(child, resource.RLIMIT_NOFILE, (hard, hard))
    wait_until(
        lambda: service.post("/payloads/after", [{}]).status == 202, timeout=20, what="a 202"
    )
    stats = settle(service)
    assert stats["stored"] == stats["accepted"] == len(s3.lines())
