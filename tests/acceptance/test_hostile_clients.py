"""Clients that are slow, broken or malicious: they get an error, and others get an answer."""

import contextlib
import gzip
import json
import math
import os
import resource
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator

import pytest
import zstandard

from tests.acceptance.service import ROADS, ServiceFactory, assert_promise_kept, settle
from tests.acceptance.wire import JSON, Wire, chunked, head, post, problem
from tests.support import wait_until
from tests.support.flood import Flood, Plan
from tests.support.s3 import FakeS3
from tests.support.service import Service

REQUEST_SECONDS = 1.0
# What a loaded machine may take beyond it.
PATIENCE = 10.0
MIB = 1 << 20
LINE = b'{"half":1}\n'
NDJSON = {"Content-Type": "application/x-ndjson"}
CHUNKED = {**NDJSON, "Transfer-Encoding": "chunked"}


@pytest.fixture(scope="module", params=ROADS)
def server_mode(request: pytest.FixtureRequest) -> str:
    """Say which way requests take: everything here holds on each."""
    return str(request.param)


@pytest.fixture(scope="module")
def bucket(server_mode: str) -> Iterator[FakeS3]:
    """Run one S3 for each road: nothing here breaks it."""
    del server_mode
    with FakeS3() as running:
        yield running


@pytest.fixture(scope="module")
def service(
    bucket: FakeS3, tmp_path_factory: pytest.TempPathFactory, server_mode: str
) -> Iterator[Service]:
    """Run one service for the module: one process of few threads is the easiest to hold up."""
    with ServiceFactory(
        tmp_path_factory.mktemp("hostile"), bucket, server_mode=server_mode
    ) as service_factory:
        # The engine has one patience for a head that is coming and for a connection that idles.
        impatience = f"--keep-alive {math.ceil(REQUEST_SECONDS)}"
        yield service_factory.start(REQUEST_SECONDS=REQUEST_SECONDS, GUNICORN_CMD_ARGS=impatience)


@contextlib.contextmanager
def nothing_accepted(service: Service) -> Iterator[None]:
    """See that nothing is accepted meanwhile, and that the service lives."""
    before = service.stats()["accepted"]
    yield
    # Requests are taken up in the order that they came in: those before this one are under way.
    assert service.get("/readyz").status == 200
    assert service.stats()["accepted"] == before


# --- Slow ones ------------------------------------------------------------------------------------


def test_slow_headers_hold_nobody_up_for_long(service: Service) -> None:
    """More slow-lorises than threads are shown out in time, and a good client is served."""
    with contextlib.ExitStack() as stack:
        slow_clients = [stack.enter_context(Wire(service.port)) for _ in range(12)]
        for loris in slow_clients:
            loris.send(b"POST /payloads HTTP/1.1\r\nHost: brigade\r\nX-Slow: ")
        started = time.monotonic()
        assert service.post("/payloads", [{}]).status == 202
        assert time.monotonic() - started < PATIENCE
        for loris in slow_clients:
            with contextlib.suppress(EOFError, ConnectionError):
                assert loris.answer().status in {400, 408}
        assert time.monotonic() - started < 2 * PATIENCE


def test_a_header_a_drop_at_a_time_has_the_same_deadline(service: Service) -> None:
    """The time is for the whole request: more bytes now and then do not buy more of it."""
    with Wire(service.port) as wire:
        wire.send(b"GET /healthz HTTP/1.1\r\n")
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - started < PATIENCE:
                wire.send(b"X-Slow: x\r\n")
                if wire.has_news(0.1):
                    break
        with contextlib.suppress(EOFError, ConnectionError):
            assert wire.answer().status in {400, 408}
    assert time.monotonic() - started < PATIENCE


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
    """Within about `REQUEST_SECONDS` the client is told so, and nothing is kept."""
    with nothing_accepted(service), contextlib.ExitStack() as stack:
        started = time.monotonic()
        wires = {name: stack.enter_context(Wire(service.port)) for name in HALVES}
        for name, wire in wires.items():
            wire.send(HALVES[name])
        for wire in wires.values():
            problem(wire.answer(), 408)
            assert REQUEST_SECONDS / 2 < time.monotonic() - started < PATIENCE


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


def test_stalled_bodies_hold_nobody_up_for_long(service: Service) -> None:
    """More stalled uploads than threads end in time, and a good client is served."""
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            wire = stack.enter_context(Wire(service.port))
            wire.send(head("POST", "/payloads", {**JSON, "Content-Length": "99"}) + b"[")
        started = time.monotonic()
        assert service.post("/payloads", [{}]).status == 202
        assert time.monotonic() - started < PATIENCE


def test_idle_connections_take_no_thread(service: Service) -> None:
    """A hundred connections that say nothing keep nobody from being served at once."""
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(Wire(service.port))
        started = time.monotonic()
        assert service.post("/payloads", [{}]).status == 202
        assert time.monotonic() - started < 4 * REQUEST_SECONDS


def test_clients_that_do_not_wait_for_their_answer_harm_nobody(
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
@pytest.mark.parametrize("road", ["engine"], indirect=True, scope="module")
def test_probes_do_not_wait_for_stalled_bodies(service: Service) -> None:
    """More stalled uploads than there are threads keep neither a probe nor a small POST waiting."""
    stalled = head(
        "POST", "/payloads", {**JSON, "Content-Length": "99", "Content-Encoding": "gzip"}
    )
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            wire = stack.enter_context(Wire(service.port))
            wire.send(stalled + b"x")
        for _ in range(5):
            assert service.get("/healthz", timeout=REQUEST_SECONDS / 2).status == 200
            assert service.post("/payloads", [{}], timeout=REQUEST_SECONDS / 2).status == 202


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
    break_off(3000)
    before = service.rss_bytes()
    break_off(6000)
    assert service.rss_bytes() - before < 6 * MIB


def test_who_does_not_read_is_let_go(service_factory: ServiceFactory) -> None:
    """Answers that pile up unread do not hold a connection for ever, and the door opens again."""
    service = service_factory.start(
        REQUEST_SECONDS=1, GUNICORN_CMD_ARGS="--worker-connections 20 --keep-alive 1"
    )
    flood = head("GET", "/metrics") * 2000
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            wire = stack.enter_context(Wire(service.port))
            wire.set_option(socket.SO_RCVBUF, struct.pack("i", 4096))
            with contextlib.suppress(OSError):
                wire.send_what_goes(flood)
        wait_until(lambda: is_served(service), timeout=PATIENCE * 3, what="an answer")


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


# --- Large and deep ones --------------------------------------------------------------------------


def zeros_gzip(size: int) -> bytes:
    """Return `size` zero bytes in gzip."""
    compressor = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS)
    blank = bytes(MIB)
    parts = [compressor.compress(blank) for _ in range(size // MIB)]
    return b"".join([*parts, compressor.flush()])


def zeros_gzip_members(size: int) -> bytes:
    """Return `size` zero bytes in many members of gzip (RFC 1952 section 2.2)."""
    return gzip.compress(bytes(MIB)) * (size // MIB)


def zeros_deflate(size: int) -> bytes:
    """Return `size` zero bytes in zlib's format."""
    return zlib.compress(bytes(size), 9)


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


# --- Odd ones, and right all the same -------------------------------------------------------------


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
