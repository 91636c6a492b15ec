"""The contract's refusals: the status, the problem document, and nothing stored."""

import gzip
import uuid
import zlib
from collections.abc import Callable

import pytest
import zstandard

from tests.acceptance.contract.samples import ARRAY, MAX_BODY, NDJSON
from tests.acceptance.service import settle
from tests.acceptance.wire import Wire, ask, chunked, head, pointers, problem
from tests.support.s3 import FakeS3
from tests.support.service import Service


@pytest.mark.parametrize(
    ("body", "headers", "where"),
    [
        (b"[]", {}, []),
        (b'{"payloads":[]}', {}, []),
        (b"\n \n", NDJSON, []),
        (b"3", {}, []),
        (b'"text"', {}, []),
        (b"null", {}, []),
        (b"{}", {}, [""]),
        (b'{"payloads":[{}],"data":[{}]}', {}, [""]),
        (b'{"payloads":{}}', {}, ["/payloads"]),
        (b'{"version":1,"payloads":[{}]}', {}, ["/version"]),
        (b'{"token":[],"payloads":[{}]}', {}, ["/token"]),
        (b'{"a/b~c":1,"payloads":[{}]}', {}, ["/a~1b~0c"]),
        (b'{"payloads":[{}],"payloads":[{}]}', {}, ["/payloads"]),
        (b'{"payloads":[{},{},{},4,{},"6"]}', {}, ["/payloads/3", "/payloads/5"]),
        (b'{"data":[{},null]}', {}, ["/data/1"]),
        (b"[{},[]]", {}, ["/1"]),
        (b"{}\n[]\n{}\n7\n", NDJSON, ["/1", "/3"]),
    ],
)
def test_the_wrong_shape_is_a_422_that_points_at_each_fault(
    service: Service, body: bytes, headers: dict[str, str], where: list[str]
) -> None:
    """JSON that is no collection of objects is refused with a JSON pointer to every fault."""
    found = problem(service.post("/payloads", body, headers=headers), 422)
    assert pointers(found) == where


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(b"", {}, id="nothing"),
        pytest.param(b"[{}", {}, id="cut short"),
        pytest.param(b"[{}] x", {}, id="more behind it"),
        pytest.param(b"[{'a':1}]", {}, id="Python"),
        pytest.param(b'[{"a":NaN}]', {}, id="NaN"),
        pytest.param(b'[{"a":01}]', {}, id="leading zero"),
        pytest.param(b'[{"a":"\xff"}]', {}, id="not UTF-8"),
        pytest.param(b'[{"a":"\xed\xa0\x80"}]', {}, id="a lone surrogate in UTF-8"),
        pytest.param(b'{}\n{"a":\n', NDJSON, id="a broken line"),
        pytest.param(b"[{}]", {"Content-Encoding": "gzip"}, id="not gzip"),
        pytest.param(gzip.compress(ARRAY)[:-5], {"Content-Encoding": "gzip"}, id="cut gzip"),
        pytest.param(gzip.compress(ARRAY) + b"x", {"Content-Encoding": "gzip"}, id="gzip and more"),
        pytest.param(zlib.compress(ARRAY)[:-5], {"Content-Encoding": "deflate"}, id="cut deflate"),
        pytest.param(zstandard.compress(ARRAY)[:-1], {"Content-Encoding": "zstd"}, id="cut zstd"),
    ],
)
def test_what_is_not_json_is_a_400(service: Service, body: bytes, headers: dict[str, str]) -> None:
    """Broken JSON, broken UTF-8 and broken compression are bad requests, nothing worse."""
    assert problem(service.post("/payloads", body, headers=headers), 400)["detail"]


def test_json_nested_100_000_deep_is_a_400(service: Service) -> None:
    """No depth of nesting gets through to the stack."""
    deep = b'[{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]"
    problem(service.post("/payloads", deep), 400)
    problem(service.post("/payloads", deep[1:-1], headers=NDJSON), 400)
    assert service.get("/healthz").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": ""},
        {"Content-Encoding": "br"},
        {"Content-Encoding": "gzip, gzip"},
    ],
)
def test_another_type_or_encoding_is_a_415(service: Service, headers: dict[str, str]) -> None:
    """It says what would do instead, as RFC 9110 section 15.5.16 has it."""
    answer = service.post("/payloads", ARRAY, headers=headers)
    problem(answer, 415)
    wanted = "Accept-Encoding" if "Content-Encoding" in headers else "Accept"
    assert answer.headers[wanted]


def test_a_post_without_a_content_type_is_a_415(service: Service) -> None:
    """A type is not guessed."""
    with Wire(service.port) as wire:
        wire.send(head("POST", "/payloads", {"Content-Length": "4"}) + b"[{}]")
        problem(wire.answer(), 415)


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("zstd", zstandard.compress),
    ],
)
def test_a_body_over_the_limit_is_a_413(
    service: Service, coding: str, pack: Callable[[bytes], bytes]
) -> None:
    """The limit holds for the body as sent and as decoded; just below it all is well."""
    headers = {"Content-Encoding": coding}
    filler = MAX_BODY - len('[{"a":""}]')
    fits = b'[{"a":"' + b"x" * filler + b'"}]'
    assert service.post("/payloads", pack(fits), headers=headers).status == 202
    problem(service.post("/payloads", pack(fits + b" "), headers=headers), 413)


def test_a_413_reaches_a_client_that_sends_first(service: Service) -> None:
    """A client that sends all of a body several times too large still gets its answer."""
    problem(service.post("/payloads", b" " * (5 * MAX_BODY)), 413)


@pytest.mark.parametrize("line", [b'{"a":1}\n', b" \n"])
def test_a_body_without_a_length_is_held_to_the_limit(service: Service, line: bytes) -> None:
    """Sent in chunks, too, more than the limit is a 413, and never half a 202."""
    before = service.stats()["accepted"]
    with Wire(service.port) as wire:
        wire.send(head("POST", "/payloads", {**NDJSON, "Transfer-Encoding": "chunked"}))
        wire.send(chunked([line * (MAX_BODY // len(line)), line]))
        problem(wire.answer(), 413)
    assert service.stats()["accepted"] == before


def test_a_broken_chunk_is_a_400(service: Service) -> None:
    """A length that is none makes the request bad, not the service."""
    with Wire(service.port) as wire:
        wire.send(head("POST", "/payloads", {**NDJSON, "Transfer-Encoding": "chunked"}))
        wire.send(b"4\r\n{}\r\n\r\nzz\r\n")
        problem(wire.answer(), 400)
        assert wire.is_closed()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/payload",
        "/payloads/",
        "/payloads/a/b",
        "/payloads/UPPER",
        "/payloads/a.b",
        "/payloads/%C3%BC",
        "/payloads/..%2Fetc",
        "/payloads/" + "x" * 65,
        "/static/x",
    ],
)
def test_an_unknown_route_or_stream_is_a_404(service: Service, path: str) -> None:
    """What is not there is a problem document, and takes nothing."""
    before = service.stats()["accepted"]
    problem(service.post(path, [{}]), 404)
    assert service.stats()["accepted"] == before


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/payloads", {"POST", "OPTIONS"}),
        ("DELETE", "/payloads/clicks", {"POST", "OPTIONS"}),
        ("GET", "/payloads", {"POST", "OPTIONS"}),
        ("HEAD", "/payloads", {"POST", "OPTIONS"}),
        ("PATCH", "/receipts/x", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/stats", {"GET", "HEAD", "OPTIONS"}),
        ("BREW", "/payloads", {"POST", "OPTIONS"}),
    ],
)
def test_another_method_is_a_405(
    service: Service, method: str, path: str, allowed: set[str]
) -> None:
    """The answer says which methods there are (RFC 9110 section 15.5.6)."""
    answer = ask(service.port, method, path)
    if method == "HEAD":
        assert (answer.status, answer.body) == (405, b"")
    else:
        problem(answer, 405)
    assert set(answer.headers["Allow"].replace(" ", "").split(",")) == allowed


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/stats", "/metrics"])
def test_head_is_get_without_the_body(service: Service, path: str) -> None:
    """HEAD has the status and type of GET."""
    full, bare = ask(service.port, "GET", path), ask(service.port, "HEAD", path)
    assert (bare.status, bare.headers["Content-Type"]) == (200, full.headers["Content-Type"])
    assert full.body
    assert not bare.body


def test_options_says_what_may_be_done(service: Service) -> None:
    """OPTIONS answers with `Allow`, and no body is needed."""
    answer = ask(service.port, "OPTIONS", "/payloads")
    assert answer.status == 200
    assert "POST" in answer.headers["Allow"]


def test_nothing_of_a_refused_collection_is_stored(service: Service, bucket: FakeS3) -> None:
    """All or nothing: one bad payload among good ones, and none of them is accepted."""
    name = uuid.uuid4().hex
    before = settle(service)["accepted"]
    problem(service.post("/payloads", [{"id": name}] * 5 + [6]), 422)
    assert settle(service)["accepted"] == before
    assert not [line for _, _, line in bucket.lines() if name.encode() in line]


@pytest.mark.parametrize("id", ["x", "a.1.1.b", "YnVja2V0L2s.1.1.000000000000000000000000", "%00"])
def test_a_receipt_that_was_never_issued_is_a_404(service: Service, id: str) -> None:
    """Neither nonsense nor a made-up receipt finds anything."""
    problem(service.get(f"/receipts/{id}"), 404)


def test_a_receipt_cannot_be_bent(service: Service) -> None:
    """A change to any character of a receipt makes it unknown."""
    (receipt,) = service.post("/payloads", [{}]).json()["receipts"]
    id = receipt["id"]
    bent = {id[:at] + ("A" if id[at] != "A" else "B") + id[at + 1 :] for at in range(len(id))}
    statuses = {ask(service.port, "GET", f"/receipts/{each}").status for each in list(bent)[:60]}
    assert statuses == {404}
