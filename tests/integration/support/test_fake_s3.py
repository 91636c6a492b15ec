"""The fake S3 answers as the real one, through boto3 and by hand."""

import base64
import hashlib
import random
import zlib
from collections.abc import Mapping
from typing import Any

import pytest

from tests.integration.support.client import (
    BODY,
    put,
    raw_connection,
    refusal,
)
from tests.support.s3 import FakeS3
from tests.support.s3.bodies import decode_aws_chunked
from tests.support.s3.messages import S3Error


def test_an_object_comes_back_as_it_was_put(client: Any) -> None:
    """Body, type, encoding, metadata, ETag and checksum survive; boto3 verifies the checksum."""
    where = {"Bucket": "bucket", "Key": "a b/ü+&<.gz"}
    described = {"ContentType": "x/y", "ContentEncoding": "gzip", "Metadata": {"lines": "100"}}
    client.put_object(**where, **described, Body=BODY)
    got = client.get_object(**where, ChecksumMode="ENABLED")
    assert got["Body"].read() == BODY
    for answer in (got, client.head_object(**where, ChecksumMode="ENABLED")):
        assert {name: answer[name] for name in described} == described
        assert answer["ContentLength"] == len(BODY)
        assert answer["ETag"] == f'"{hashlib.md5(BODY, usedforsecurity=False).hexdigest()}"'
        assert answer["ChecksumCRC32"] == base64.b64encode(
            zlib.crc32(BODY).to_bytes(4, "big")
        ).decode("ascii")


def test_a_checksum_is_answered_only_on_request(s3: FakeS3, client: Any) -> None:
    """Without x-amz-checksum-mode a HEAD says nothing of checksums, as with S3."""
    put(client)
    with raw_connection(s3, "HEAD /bucket/k HTTP/1.1\nConnection: close") as sock:
        answer = sock.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"x-amz-checksum" not in answer
    assert answer.endswith(b"\r\n\r\n"), "a HEAD has no body"


def test_a_conditional_put_stores_once(s3: FakeS3, client: Any) -> None:
    """If-None-Match: * answers 412 where the key exists, and leaves the first object alone."""
    put(client, body=b"first", IfNoneMatch="*")
    assert refusal(put, client, body=b"later", IfNoneMatch="*") == (412, "PreconditionFailed")
    stored = s3.objects()["k"]
    assert (stored.body, stored.stored_count) == (b"first", 1)
    assert stored.put_headers["if-none-match"] == "*"


def test_a_plain_put_overwrites_and_is_counted(s3: FakeS3, client: Any) -> None:
    """Creations, also after a deletion, and overwritings are counted separately."""
    for body in (b"1", b"2", b"3"):
        put(client, body=body)
    client.delete_object(Bucket="bucket", Key="k")
    put(client, body=b"4")
    stored = s3.objects()["k"]
    assert (stored.body, stored.created_count, stored.overwritten_count) == (b"4", 2, 2)
    assert s3.counts().stored == 4


def test_if_match_wants_the_very_object(s3: FakeS3, client: Any) -> None:
    """If-Match stores over its ETag only: 412 for another object, 404 for none."""
    etag = put(client, body=b"1")["ETag"]
    put(client, body=b"2", IfMatch=etag)
    assert refusal(put, client, body=b"3", IfMatch=etag) == (412, "PreconditionFailed")
    assert refusal(put, client, key="other", IfMatch=etag) == (404, "NoSuchKey")
    assert [stored.body for stored in s3.objects().values()] == [b"2"]


@pytest.mark.parametrize(
    "digest",
    [
        {"ContentMD5": base64.b64encode(b"0" * 16).decode()},
        {"ChecksumCRC32": "AAAAAA=="},
        {"ChecksumSHA256": base64.b64encode(b"0" * 32).decode()},
        {"ChecksumSHA1": base64.b64encode(b"0" * 20).decode()},
    ],
    ids=lambda digest: next(iter(digest)),
)
def test_a_body_that_is_not_its_digest_is_refused(
    s3: FakeS3, client: Any, digest: Mapping[str, str]
) -> None:
    """Nothing is stored that its client would not recognise."""
    assert refusal(put, client, **digest) == (400, "BadDigest")
    assert s3.objects() == {}


def test_a_checksum_it_cannot_compute_is_refused(s3: FakeS3, client: Any) -> None:
    """What cannot be verified is not waved through."""
    assert refusal(put, client, ChecksumCRC32C="AAAAAA==") == (501, "NotImplemented")
    assert s3.objects() == {}


def send_trailer(params: dict[str, Any], **_: Any) -> None:
    """Make boto3 send the checksum in a trailer, as it does over https."""
    params["context"]["checksum"]["request_algorithm"]["in"] = "trailer"


def test_boto3s_chunks_and_trailer_are_decoded(s3: FakeS3, client: Any) -> None:
    """An aws-chunked body is stored without its chunks, and its checksum is the trailer's."""
    client.meta.events.register("before-call.s3.PutObject", send_trailer)
    big = random.Random(7).randbytes(3_000_000)
    put(client, body=big, ContentEncoding="gzip")
    stored = s3.objects()["k"]
    assert stored.body == big
    assert stored.content_encoding == "gzip"
    assert stored.put_headers["transfer-encoding"] == "chunked"
    assert list(stored.checksums) == ["x-amz-checksum-crc32"]


def test_a_trailer_is_verified(s3: FakeS3) -> None:
    """A checksum that comes after the body refuses it as one before does."""
    chunks = b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    head = f"PUT /bucket/k HTTP/1.1\nContent-Length: {len(chunks)}\nContent-Encoding: aws-chunked"
    with raw_connection(s3, f"{head}\nConnection: close", chunks) as sock:
        assert b"<Code>BadDigest</Code>" in sock.makefile("rb").read()
    assert s3.objects() == {}


def test_chunks_that_are_not_all_of_the_body_are_refused(s3: FakeS3) -> None:
    """An aws-chunked body that decodes to less than it said is a half body."""
    chunks = b"3\r\nabc\r\n0\r\n\r\n"
    length = f"Content-Length: {len(chunks)}\nx-amz-decoded-content-length: 4"
    head = f"PUT /bucket/k HTTP/1.1\n{length}\nContent-Encoding: aws-chunked\nConnection: close"
    with raw_connection(s3, head, chunks) as sock:
        assert b"<Code>IncompleteBody</Code>" in sock.makefile("rb").read()
    assert s3.counts().half_bodies_refused == 1
    assert s3.objects() == {}


def test_chunks_without_an_end_are_incomplete() -> None:
    """Wherever an aws-chunked body is cut, it is refused."""
    whole = b"3;chunk-signature=0\r\nabc\r\n2\r\nde\r\n0\r\nx-amz-checksum-crc32:A\r\n\r\n"
    assert decode_aws_chunked(whole) == (b"abcde", {"x-amz-checksum-crc32": "A"})
    for length in range(len(whole)):
        with pytest.raises(S3Error, match="IncompleteBody"):
            decode_aws_chunked(whole[:length])


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("Content-Length: 100", b"x" * 99),
        ("Content-Length: 100", b""),
        ("Transfer-Encoding: chunked\nx-amz-decoded-content-length: 3", b"3\r\nabc\r\n"),
    ],
    ids=["most", "none", "no-last-chunk"],
)
def test_a_half_body_is_never_stored(s3: FakeS3, head: str, body: bytes) -> None:
    """A client that leaves in mid-body leaves nothing behind, and is counted."""
    with raw_connection(s3, f"PUT /bucket/k HTTP/1.1\n{head}", body):
        pass
    s3.wait_until(lambda counts: counts.half_bodies_refused == 1, what="the half body")
    assert s3.objects() == {}


def test_a_put_needs_its_length(s3: FakeS3) -> None:
    """Without Content-Length S3 answers 411."""
    with raw_connection(s3, "PUT /bucket/k HTTP/1.1") as sock:
        answer = sock.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 411")
    assert b"<Code>MissingContentLength</Code>" in answer


def test_expect_continue_is_answered_before_the_body(s3: FakeS3) -> None:
    """The body may wait for the 100, as botocore's does."""
    head = "PUT /bucket/k HTTP/1.1\nContent-Length: 3\nExpect: 100-continue"
    with raw_connection(s3, head) as sock:
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"abc")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 OK")
    assert s3.objects()["k"].body == b"abc"


def test_a_body_that_stops_coming_times_out() -> None:
    """S3 does not wait for a stalled client: 400 RequestTimeout, and nothing stored."""
    head = "PUT /bucket/k HTTP/1.1\nContent-Length: 100"
    with FakeS3(body_seconds=0.1) as s3:
        with raw_connection(s3, head, b"x" * 99) as sock:
            answer = sock.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"<Code>RequestTimeout</Code>" in answer
        assert s3.counts().half_bodies_refused == 1
        assert s3.objects() == {}


def test_what_is_missing_is_said_in_s3s_words(client: Any) -> None:
    """Buckets and keys that are not there have the codes that boto3's users look for."""
    here, nowhere = {"Bucket": "bucket", "Key": "k"}, {"Bucket": "nowhere", "Key": "k"}
    assert refusal(client.get_object, **here) == (404, "NoSuchKey")
    assert refusal(client.head_object, **here) == (404, "404")
    assert refusal(client.put_object, **nowhere, Body=b"") == (404, "NoSuchBucket")
    assert refusal(client.list_objects_v2, Bucket="nowhere") == (404, "NoSuchBucket")
    assert refusal(client.head_bucket, Bucket="nowhere") == (404, "404")
    assert refusal(client.get_object_acl, **here) == (501, "NotImplemented")


def test_buckets_are_made(s3: FakeS3, client: Any) -> None:
    """A bucket created by a client or by the test is there."""
    client.create_bucket(Bucket="one")
    s3.create_bucket("two")
    client.head_bucket(Bucket="one")
    client.head_bucket(Bucket="two")
    client.put_object(Bucket="two", Key="k", Body=b"x")
    assert (list(s3.objects("one")), list(s3.objects("two"))) == ([], ["k"])


@pytest.mark.parametrize(
    ("spec", "expected"), [("bytes=2-4", b"234"), ("bytes=7-", b"789"), ("bytes=-2", b"89")]
)
def test_a_range_is_cut_out(client: Any, spec: str, expected: bytes) -> None:
    """GET understands all three forms of a range."""
    put(client, body=b"0123456789")
    assert client.get_object(Bucket="bucket", Key="k", Range=spec)["Body"].read() == expected


def test_a_range_outside_is_416(client: Any) -> None:
    """A range beyond the end is refused."""
    put(client, body=b"0123456789")
    get = client.get_object
    assert refusal(get, Bucket="bucket", Key="k", Range="bytes=10-") == (416, "InvalidRange")


def test_deleting_twice_is_deleting(s3: FakeS3, client: Any) -> None:
    """DELETE answers 204 whether or not the key is there."""
    put(client)
    for _ in range(2):
        answer = client.delete_object(Bucket="bucket", Key="k")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert s3.objects() == {}


def test_listing_pages_through_a_prefix_in_order(client: Any) -> None:
    """ListObjectsV2 gives every key once, sorted, and only those with the prefix."""
    keys = [f"b/{n:02}" for n in range(23)] + ["b/ü <&> 100%25+"]
    for key in ["a", "b", *reversed(keys), "c"]:
        put(client, key=key)
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket="bucket", Prefix="b/", PaginationConfig={"PageSize": 7}
    )
    listed = [entry for page in pages for entry in page["Contents"]]
    assert [entry["Key"] for entry in listed] == keys
    assert {entry["Size"] for entry in listed} == {len(BODY)}
    after = client.list_objects_v2(Bucket="bucket", Prefix="b/", StartAfter="b/20")
    assert [entry["Key"] for entry in after["Contents"]] == keys[21:]
    assert client.list_objects_v2(Bucket="bucket", Prefix="x")["KeyCount"] == 0
