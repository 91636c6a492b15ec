"""The HTTP contract, answer by answer, from running processes over real sockets."""

import gzip
import json
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.acceptance.service import ROADS, ServiceFactory, settle
from tests.acceptance.wire import Wire, ask, chunked, head, pointers, post, problem
from tests.support.s3 import FakeS3
from tests.support.service import Answer, Service

MAX_BODY = 1 << 20
PAYLOADS = [b'{"n":1,"s":"a\\u00fc/\xc3\xbc"}', b'{"n":2}', b"{}"]
ARRAY = b"[" + b",".join(PAYLOADS) + b"]"
NDJSON = {"Content-Type": "application/x-ndjson"}

SCHEMA = """
from marshmallow import Schema, ValidationError, fields, validates

class Reading(Schema):
    sensor = fields.String(required=True)
    value = fields.Float(required=True)

    @validates("sensor")
    def has_a_good_day(self, value, **kwargs):
        if value == "bug":
            raise RuntimeError("the schema has a bug")
"""


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


@pytest.fixture(scope="module", params=["disk", "memory"])
def service(
    bucket: FakeS3,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    server_mode: str,
) -> Iterator[Service]:
    """Run one service for the module, in each durability."""
    with ServiceFactory(
        tmp_path_factory.mktemp("contract"), bucket, server_mode=server_mode
    ) as service_factory:
        yield service_factory.start(
            DURABILITY=request.param, MAX_BODY_BYTES=MAX_BODY, WEB_CONCURRENCY=2
        )


def raw_deflate(data: bytes) -> bytes:
    """Compress without zlib's header, as some clients do."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def stored(service: Service, bucket: FakeS3, answer: Answer) -> list[bytes]:
    """Wait until all is stored; return the lines that an answer's receipts point to."""
    settle(service)
    lines = {(f"s3://{bucket.bucket}/{key}", n): line for key, n, line in bucket.lines()}
    return [
        lines[receipt["object"], receipt["first_line"] + offset]
        for receipt in answer.json()["receipts"]
        for offset in range(receipt["count"])
    ]


# --- 202 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(b'{"version":"1","token":"t","payloads":' + ARRAY + b"}", {}, id="payloads"),
        pytest.param(b'{"data":' + ARRAY + b"}", {}, id="data"),
        pytest.param(b'{"version":null,"token":null,"data":' + ARRAY + b"}", {}, id="nulls"),
        pytest.param(ARRAY, {}, id="bare"),
        pytest.param(b" \r\n" + ARRAY.replace(b",", b" ,\n\t") + b"\n", {}, id="pretty"),
        pytest.param(b"\n".join(PAYLOADS), NDJSON, id="ndjson"),
        pytest.param(b"\r\n\r\n".join([*PAYLOADS, b""]), NDJSON, id="ndjson with blank lines"),
        pytest.param(ARRAY, {"Content-Type": "application/json; charset=utf-8"}, id="charset"),
        pytest.param(ARRAY, {"Content-Type": 'Application/JSON;charset="UTF-8"'}, id="CHARSET"),
        # RFC 8259 section 11 defines no such parameter: it says nothing.
        pytest.param(ARRAY, {"Content-Type": "application/json; charset=latin-1"}, id="latin-1"),
        pytest.param(gzip.compress(ARRAY), {"Content-Encoding": "gzip"}, id="gzip"),
        pytest.param(zlib.compress(ARRAY), {"Content-Encoding": "deflate"}, id="deflate"),
        pytest.param(raw_deflate(ARRAY), {"Content-Encoding": "deflate"}, id="raw deflate"),
        pytest.param(zstandard.compress(ARRAY), {"Content-Encoding": "zstd"}, id="zstd"),
        pytest.param(
            gzip.compress(b"\n".join(PAYLOADS)),
            {**NDJSON, "Content-Encoding": "GZIP"},
            id="ndjson in gzip",
        ),
    ],
)
def test_every_form_of_a_collection_is_stored_as_sent(
    service: Service, bucket: FakeS3, body: bytes, headers: dict[str, str]
) -> None:
    """Whatever the form and the encoding: 202, and each payload is a line, byte for byte."""
    answer = service.post("/payloads", body, headers=headers)
    assert answer.status == 202, answer
    lines = stored(service, bucket, answer)
    assert [json.loads(line) for line in lines] == [json.loads(each) for each in PAYLOADS]
    if b"\t" not in body:
        assert lines == PAYLOADS


def test_a_202_says_how_many_how_safe_and_where(service: Service, bucket: FakeS3) -> None:
    """Its body has the count, the durability and receipts; `Location` leads to the first one."""
    answer = service.post("/payloads/clicks", [{"a": 1}, {"a": 2}])
    assert answer.status == 202
    assert answer.headers["Content-Type"] == "application/json"
    said = answer.json()
    assert set(said) == {"accepted", "durability", "receipts"}
    assert said["accepted"] == 2
    assert said["durability"] == service.settings["DURABILITY"]
    (receipt,) = said["receipts"]
    assert set(receipt) == {"id", "object", "first_line", "count"}
    assert receipt["count"] == 2
    assert receipt["object"].startswith(f"s3://{bucket.bucket}/clicks/dt=")
    assert receipt["object"].endswith(".ndjson.gz")
    assert answer.headers["Location"] == f"/receipts/{receipt['id']}"
    settle(service)
    found = service.get(answer.headers["Location"]).json()
    assert found["state"] == "stored"
    assert {name: found[name] for name in receipt} == receipt


def test_the_stream_without_a_name_is_default(service: Service) -> None:
    """`POST /payloads` goes where `POST /payloads/default` goes."""
    for path in ("/payloads", "/payloads/default"):
        (receipt,) = service.post(path, [{}]).json()["receipts"]
        assert receipt["object"].startswith("s3://bucket/default/")


@pytest.mark.parametrize("name", ["a", "a-b_c-0", "x" * 64])
def test_a_stream_has_objects_of_its_own(service: Service, name: str) -> None:
    """Any allowed name is a stream, and begins its objects' keys."""
    (receipt,) = service.post(f"/payloads/{name}", [{}]).json()["receipts"]
    assert receipt["object"].startswith(f"s3://bucket/{name}/")


def test_numbers_and_repeated_members_stay_as_they_were_sent(
    service: Service, bucket: FakeS3
) -> None:
    """What would not survive a parser is stored byte for byte: 2^53+1, 1E400, repeated names."""
    payload = b'{"big":9007199254740993,"huge":1E400,"long":0.10000000000000000555,"a":1,"a":2}'
    answer = service.post("/payloads", b"[" + payload + b"]")
    assert answer.status == 202
    assert stored(service, bucket, answer) == [payload]


# --- Refusals -------------------------------------------------------------------------------------


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
def test_a_receipt_that_nobody_was_given_is_a_404(service: Service, id: str) -> None:
    """Neither nonsense nor a made-up receipt finds anything."""
    problem(service.get(f"/receipts/{id}"), 404)


def test_a_receipt_cannot_be_bent(service: Service) -> None:
    """A change to any character of a receipt makes it unknown."""
    (receipt,) = service.post("/payloads", [{}]).json()["receipts"]
    id = receipt["id"]
    bent = {id[:at] + ("A" if id[at] != "A" else "B") + id[at + 1 :] for at in range(len(id))}
    statuses = {ask(service.port, "GET", f"/receipts/{each}").status for each in list(bent)[:60]}
    assert statuses == {404}


# --- Around the request ---------------------------------------------------------------------------


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


# --- A schema for payloads ------------------------------------------------------------------------


@pytest.fixture
def schema(tmp_path: Path) -> dict[str, Any]:
    """Write a schema module as an operator would, and return the settings that plug it in."""
    (tmp_path / "readings.py").write_text(SCHEMA)
    return {"PYTHONPATH": tmp_path, "PAYLOAD_SCHEMA": "readings:Reading"}


def test_a_plugged_in_schema_names_each_fault_by_its_payload(
    service_factory: ServiceFactory, s3: FakeS3, schema: dict[str, Any]
) -> None:
    """With `PAYLOAD_SCHEMA` every payload is validated; good ones are still stored as sent."""
    service = service_factory.start(**schema)
    good = b'{"value":1.50,"sensor":"a"}'
    answer = service.post("/payloads", b'{"payloads":[' + good + b"]}")
    assert answer.status == 202
    bad = [{"sensor": "a", "value": 1}, {"sensor": 2, "value": "x"}, {"value": 3, "more": 4}]
    where = {"/1/sensor", "/1/value", "/2/sensor", "/2/more"}
    assert set(pointers(problem(service.post("/payloads", bad), 422))) == where
    lines = b"\n".join(json.dumps(each).encode() for each in bad)
    assert set(pointers(problem(service.post("/payloads", lines, headers=NDJSON), 422))) == where
    found = pointers(problem(service.post("/payloads", {"payloads": bad}), 422))
    assert set(found) == {f"/payloads{each}" for each in where}
    assert stored(service, s3, answer) == [good]
    assert settle(service)["accepted"] == 1


def test_whatever_a_schema_raises_is_a_422(
    service_factory: ServiceFactory, schema: dict[str, Any]
) -> None:
    """The client learns which payload, and the log which error; the service goes on."""
    service = service_factory.start(**schema)
    headers = {"X-Request-ID": "the-one-that-failed"}
    answer = service.post("/payloads", [{"sensor": "bug", "value": 1}], headers=headers)
    document = problem(answer, 422)
    assert document["errors"] == [{"pointer": "/0", "detail": "Cannot be validated: RuntimeError."}]
    (failed,) = [event for event in service.logs().events if event["event"] == "schema failed"]
    assert (failed["request_id"], failed["error"]) == ("the-one-that-failed", "RuntimeError")
    assert service.post("/payloads", [{"sensor": "a", "value": 1}]).status == 202
