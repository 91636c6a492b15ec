"""The contract's 202: every form of a collection is stored as sent, where the receipt says."""

import gzip
import json
import zlib

import pytest
import zstandard

from tests.acceptance.contract.samples import ARRAY, NDJSON, PAYLOADS, stored
from tests.acceptance.service import settle
from tests.support.s3 import FakeS3
from tests.support.service import Service


def raw_deflate(data: bytes) -> bytes:
    """Compress without zlib's header, as some clients do."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


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
    """In every form and encoding: 202, and each payload is a line, byte for byte."""
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
