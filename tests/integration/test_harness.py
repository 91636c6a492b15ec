"""The doubles under test themselves: what a green suite is worth depends on them."""

import base64
import contextlib
import gzip
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
import zstandard
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from tests.support import wait_until
from tests.support.flood import Flood, Plan
from tests.support.oracle import judge
from tests.support.s3 import LOOPBACK, ROOT, FakeS3, Fault, S3Error, decode_aws_chunked
from tests.support.service import Service, free_port

BODY = b'{"a":1}\n' * 100
NO_RETRIES = {"total_max_attempts": 1}


def make_client(s3: FakeS3, **config: Any) -> Any:
    """Make a client that tries once and is otherwise as boto3 makes it."""
    given = {"retries": NO_RETRIES, "connect_timeout": 5, "read_timeout": 5, **config}
    return boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(**given),
    )


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    """Run a fake S3 with one bucket, called bucket."""
    with FakeS3() as running:
        yield running


@pytest.fixture
def client(s3: FakeS3) -> Iterator[Any]:
    """Make a real boto3 client for it."""
    with contextlib.closing(make_client(s3)) as made:
        yield made


def put(client: Any, key: str = "k", body: bytes = BODY, **options: Any) -> Any:
    """Put an object."""
    return client.put_object(Bucket="bucket", Key=key, Body=body, **options)


def refusal(call: Callable[..., Any], *args: Any, **options: Any) -> tuple[int, str]:
    """Return the status and the code with which S3 refuses a call."""
    with pytest.raises(ClientError) as caught:
        call(*args, **options)
    response: Any = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


@contextlib.contextmanager
def raw_connection(s3: FakeS3, head: str, body: bytes = b"") -> Iterator[socket.socket]:
    """Send a request by hand, as much of it as one likes."""
    with socket.create_connection((LOOPBACK, s3.port), timeout=5) as sock:
        lines = [*head.splitlines(), "Host: s3", "", ""]
        sock.sendall("\r\n".join(lines).encode() + body)
        yield sock


# --- As the real one ------------------------------------------------------------------------------


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


def test_a_checksum_is_told_only_on_request(s3: FakeS3, client: Any) -> None:
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
    """Creations, also after a deletion, and overwritings are told apart."""
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


# --- Faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (503, "SlowDown"),
        (500, "InternalError"),
        (403, "AccessDenied"),
        (404, "NoSuchBucket"),
        (400, "EntityTooLarge"),
        (409, "ConditionalRequestConflict"),
        (501, "NotImplemented"),
    ],
)
def test_an_error_is_answered_until_cleared(
    s3: FakeS3, client: Any, status: int, code: str
) -> None:
    """boto3 sees the error that was asked for, and nothing is stored before the faults end."""
    s3.faults(Fault(kind="error", status=status, code=code))
    assert refusal(put, client) == (status, code)
    assert s3.objects() == {}
    s3.clear()
    put(client)
    assert list(s3.objects()) == ["k"]


def test_a_lost_answer_leaves_the_object(s3: FakeS3, client: Any) -> None:
    """The client sees a broken connection, and its retry a 412."""
    s3.faults(Fault(kind="lose_answer", times=1))
    with pytest.raises(ConnectionClosedError):
        put(client, IfNoneMatch="*")
    assert refusal(put, client, IfNoneMatch="*") == (412, "PreconditionFailed")
    assert s3.objects()["k"].stored_count == 1


@pytest.mark.parametrize("kind", ["reset", "close_early"])
def test_a_broken_connection_stores_nothing(s3: FakeS3, client: Any, kind: Any) -> None:
    """Whether by RST in mid-body or by a clean end, the client gets no answer and no object."""
    s3.faults(Fault(kind=kind))
    # A RST may reach the client while it still sends: then it is another error of botocore's.
    with pytest.raises(BotoCoreError):
        put(client, body=bytes(2_000_000))
    assert s3.objects() == {}
    assert s3.counts().faults == {kind: 1}


def test_an_evil_store_keeps_a_half(s3: FakeS3, client: Any) -> None:
    """Only a look at the object tells its half from the whole: size and checksum are its own."""
    s3.faults(Fault(kind="half", times=1), Fault(kind="half", keep=0, key_contains="empty"))
    for key in ("k", "empty"):
        with pytest.raises(ConnectionClosedError):
            put(client, key=key, IfNoneMatch="*")
    assert refusal(put, client, IfNoneMatch="*") == (412, "PreconditionFailed")
    head = client.head_object(Bucket="bucket", Key="k", ChecksumMode="ENABLED")
    assert head["ContentLength"] == len(BODY) // 2
    put(client, key="like", body=BODY[: len(BODY) // 2])
    like = client.head_object(Bucket="bucket", Key="like", ChecksumMode="ENABLED")
    assert head["ChecksumCRC32"] == like["ChecksumCRC32"]
    assert s3.objects()["empty"].body == b""


def test_a_hung_put_is_dropped_with_its_client(s3: FakeS3) -> None:
    """No answer comes, and what the client gave up on is not stored later."""
    s3.faults(Fault(kind="hang"))
    with (
        contextlib.closing(make_client(s3, read_timeout=0.2)) as hasty,
        pytest.raises(ReadTimeoutError),
    ):
        put(hasty)
    s3.wait_until(lambda counts: counts.faults == {"hang": 1}, what="the PUT")
    s3.clear()
    assert s3.objects() == {}


@pytest.mark.parametrize("kind", ["hang", "slow"])
def test_clearing_frees_what_is_held_up(s3: FakeS3, client: Any, kind: Any) -> None:
    """A request that hangs or is slowed goes on at once when the faults are cleared."""
    s3.faults(Fault(kind=kind, seconds=60))
    sender = threading.Thread(target=put, args=(client,))
    sender.start()
    s3.wait_until(lambda counts: counts.faults == {kind: 1}, what="the PUT")
    assert s3.objects() == {}
    s3.clear()
    sender.join(5)
    assert not sender.is_alive()
    assert list(s3.objects()) == ["k"]


def test_a_slow_put_lands_after_its_client_has_left(s3: FakeS3) -> None:
    """A late PUT takes effect: what a client must reckon with after a time-out."""
    s3.faults(Fault(kind="slow", seconds=60))
    with (
        contextlib.closing(make_client(s3, read_timeout=0.2)) as hasty,
        pytest.raises(ReadTimeoutError),
    ):
        put(hasty)
    s3.wait_until(lambda counts: counts.faults == {"slow": 1}, what="the PUT")
    assert s3.objects() == {}
    s3.clear()
    s3.wait_until(lambda counts: counts.stored == 1, what="the late PUT")


def test_faults_strike_as_often_and_where_they_are_told(s3: FakeS3, client: Any) -> None:
    """`times`, `key_contains` and `methods` bound a rule, and the next rule has its turn."""
    s3.faults(
        Fault(kind="error", code="SlowDown", times=2, key_contains="bad"),
        Fault(kind="error", code="AccessDenied", status=403, methods=("HEAD", "GET")),
    )
    put(client, key="good")
    codes = [refusal(put, client, key="so-bad")[1] for _ in range(2)]
    put(client, key="so-bad")
    assert codes == ["SlowDown", "SlowDown"]
    assert refusal(client.get_object, Bucket="bucket", Key="good") == (403, "AccessDenied")
    assert refusal(client.head_object, Bucket="bucket", Key="good") == (403, "403")


def chances(seed: int) -> list[bool]:
    """Put forty times against a fault of one half; return which were struck."""
    with FakeS3(seed=seed) as s3, contextlib.closing(make_client(s3)) as client:
        s3.faults(Fault(kind="error", probability=0.5))
        for number in range(40):
            with contextlib.suppress(ClientError):
                put(client, key=str(number))
        stored = s3.objects()
        return [str(number) not in stored for number in range(40)]


def test_chance_comes_from_the_seed() -> None:
    """A run with a probability can be had again, and another one too."""
    first = chances(1)
    assert 8 < sum(first) < 32
    assert chances(1) == first
    assert chances(2) != first


def test_down_refuses_and_up_has_everything(s3: FakeS3, client: Any) -> None:
    """Going down breaks connections and refuses new ones; the port and the objects are kept."""
    put(client)
    port = s3.port
    with raw_connection(s3, "GET /bucket/k HTTP/1.1\nConnection: keep-alive") as sock:
        assert sock.recv(100_000).startswith(b"HTTP/1.1 200")
        s3.stop_listening()
        s3.stop_listening()
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    with pytest.raises(EndpointConnectionError):
        put(client, key="k2")
    assert list(s3.objects()) == ["k"]
    s3.listen_again()
    s3.listen_again()
    put(client, key="k2")
    assert (s3.port, list(s3.objects())) == (port, ["k", "k2"])


def test_the_server_ends_with_its_parent() -> None:
    """Tied to standard input it leaves no process behind when a test run is killed."""
    command = [sys.executable, "-m", "tests.support.s3", "--tied"]
    done = subprocess.run(command, cwd=ROOT, input=b"", capture_output=True, timeout=20, check=True)
    assert len(done.stdout.split()) == 2


# --- What tests read out of it --------------------------------------------------------------------


def test_lines_are_numbered_and_decompressed(s3: FakeS3, client: Any) -> None:
    """Whatever the compression, by header or by extension, a line is a line."""
    text = b"one\ntwo\n"
    put(client, "a", gzip.compress(b"one\n") + gzip.compress(b"two\n"), ContentEncoding="gzip")
    put(client, "b.gz", gzip.compress(text))
    zstd = zstandard.ZstdCompressor().compress
    put(client, "c", zstd(b"one\n") + zstd(b"two\n"), ContentEncoding="zstd")
    put(client, "d.zst", zstd(text))
    put(client, "e", text)
    put(client, "f", b"")
    expected = [(key, n) for key in ("a", "b.gz", "c", "d.zst", "e") for n in (1, 2)]
    assert [(key, number) for key, number, _ in s3.lines()] == expected
    assert [line for _, _, line in s3.lines()] == [b"one", b"two"] * 5


@pytest.mark.parametrize(
    ("key", "body"),
    [
        ("k", b'{"a":1}\n{"a"'),
        ("k.gz", gzip.compress(BODY)[:-1]),
        ("k.zst", zstandard.ZstdCompressor().compress(BODY)[:-1]),
    ],
    ids=["plain", "gzip", "zstd"],
)
def test_an_object_that_is_not_whole_is_an_error(
    s3: FakeS3, client: Any, key: str, body: bytes
) -> None:
    """A torn object is never read as if it were a shorter one."""
    put(client, key=key, body=body)
    with pytest.raises(AssertionError, match=key):
        s3.lines()


# --- The flood and its judge ----------------------------------------------------------------------


class ServiceFactory(ThreadingHTTPServer):
    """A working service of the simplest kind, an object a request, with a flaw if one is named.

    Every fifth request is refused, every seventh loses its connection (after it was stored).
    """

    daemon_threads = False

    def __init__(self, s3: FakeS3, client: Any, flaw: str) -> None:
        super().__init__((LOOPBACK, 0), Door)
        self.s3, self.client, self.flaw = s3, client, flaw
        self.seen = 0
        self.lock = threading.Lock()

    def keep(self, key: str, lines: list[bytes]) -> None:
        """Store lines as an object."""
        put(self.client, key, gzip.compress(b"".join(line + b"\n" for line in lines), 1))

    def next(self) -> int:
        """Number a request, from 1."""
        with self.lock:
            self.seen += 1
            return self.seen


class Door(BaseHTTPRequestHandler):
    """Answers one connection of a Brigade."""

    protocol_version = "HTTP/1.1"
    # Head and body in one packet, or every answer waits for a delayed acknowledgement.
    wbufsize = -1
    server: ServiceFactory

    def do_POST(self) -> None:
        service_factory, number = self.server, self.server.next()
        lines, key = self.read_lines(), f"{self.path[1:]}/{number}.gz"
        struck = number % 5 == 0
        refused = struck and service_factory.flaw in {"", "refused_but_stored", "malformed"}
        if not refused and not (struck and service_factory.flaw == "lost"):
            service_factory.keep(key, [b'{"id":1}', *lines])
        if struck:
            self.go_wrong(key, lines)
        if number % 7 == 0:
            self.close_connection = True
        elif refused:
            hint = {} if service_factory.flaw == "malformed" else {"Retry-After": "1"}
            self.answer(503, {}, **hint)
        else:
            receipt = {"id": "r", "object": f"s3://bucket/{key}", "count": len(lines)}
            first_line = 3 if struck and service_factory.flaw == "misplaced" else 2
            said = {"accepted": len(lines), "receipts": [{**receipt, "first_line": first_line}]}
            self.answer(202, said)

    def go_wrong(self, key: str, lines: list[bytes]) -> None:
        """Do what the flaw names, as far as it is done to the bucket."""
        match self.server.flaw:
            case "twice" | "refused_but_stored":
                self.server.keep(f"{key}.again.gz", lines)
            case "altered":
                changed = [line.replace(b'"pad":"', b'"pad":"?') for line in lines]
                self.server.keep(key, [b"{}", *changed])

    def read_lines(self) -> list[bytes]:
        """Read a collection of any form."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        if self.headers["Content-Type"] == "application/x-ndjson":
            return body.splitlines()
        value = json.loads(body)
        payloads = value["payloads"] if isinstance(value, dict) else value
        return [json.dumps(payload, separators=(",", ":")).encode() for payload in payloads]

    def answer(self, status: int, said: object, **headers: str) -> None:
        """Send an answer."""
        body = json.dumps(said).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@contextlib.contextmanager
def service_factory(s3: FakeS3, client: Any, *, flaw: str = "") -> Iterator[ServiceFactory]:
    """Run a Brigade."""
    with ServiceFactory(s3, client, flaw) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


def test_the_judge_finds_nothing_where_nothing_is_wrong(s3: FakeS3, client: Any) -> None:
    """Acknowledged, refused and unknown payloads are told apart, and all is where it should be."""
    plan = Plan(requests=70, payloads=(1, 4), threads=3)
    with service_factory(s3, client) as service:
        flood = Flood(service.server_port, plan).run()
    verdict = judge(flood, s3)
    verdict.assert_clean()
    assert flood.statuses == {202: 48, 503: 12}
    outcomes = [outcome.verdict for outcome in flood.outcomes]
    assert (outcomes.count("acked"), outcomes.count("refused")) == (48, 12)
    assert outcomes.count("unknown") == 10
    assert verdict.acked == len(flood.acked)
    assert verdict.refused == len(flood.refused)
    assert verdict.unknown == len(flood.unknown)
    assert verdict.stored >= verdict.acked
    assert 0 < flood.latency(0.5) <= flood.latency(1)


@pytest.mark.parametrize(
    "flaw", ["lost", "twice", "refused_but_stored", "misplaced", "altered", "malformed"]
)
def test_the_judge_finds_each_flaw(s3: FakeS3, client: Any, flaw: str) -> None:
    """Each way to break the promise is found, under its own name and no other."""
    with service_factory(s3, client, flaw=flaw) as service:
        flood = Flood(service.server_port, Plan(requests=20, payloads=2)).run()
    verdict = judge([flood], s3)
    assert list(verdict.faults) == [flaw]
    assert flood.retry_after_missing == (4 if flaw == "malformed" else 0)
    with pytest.raises(AssertionError, match=f"{flaw} [48]"):
        verdict.assert_clean()


def test_a_receipt_for_another_bucket_is_misplaced(s3: FakeS3, client: Any) -> None:
    """The object of a receipt is the whole URL, and another bucket's objects are not found."""
    with service_factory(s3, client) as service:
        flood = Flood(service.server_port, Plan(requests=3)).run()
    s3.create_bucket("other")
    assert list(judge(flood, s3, "other").faults) == ["lost"]
    for key, stored in s3.objects().items():
        client.put_object(Bucket="other", Key=key, Body=stored.body)
    assert list(judge(flood, s3, "other").faults) == ["misplaced"]


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("form", ["envelope", "bare", "ndjson"])
def test_a_flood_takes_every_form(s3: FakeS3, client: Any, form: Any, *, compressed: bool) -> None:
    """Envelope, array and lines carry the same payloads, to each stream in turn."""
    plan = Plan(requests=4, payloads=3, streams=("a", "b"), form=form, gzip=compressed, threads=1)
    with service_factory(s3, client) as service:
        flood = Flood(service.server_port, plan).run()
    judge(flood, s3).assert_clean()
    assert sorted(s3.objects()) == [f"payloads/{s}/{n}.gz" for s, n in ("a1", "a3", "b2", "b4")]
    found = {line for _, _, line in s3.lines()} - {b'{"id":1}'}
    assert found == {flood.payload(number) for number in range(12)}


def test_a_flood_sends_nothing_while_nobody_listens(s3: FakeS3) -> None:
    """A connection that cannot be made costs no payload, and a stop ends the attempts."""
    with Flood(free_port(), Plan(threads=2)) as flood:
        wait_until(lambda: flood.connect_errors > 2, timeout=5, what="attempts")
    assert flood.outcomes == []
    verdict = judge(flood, s3)
    assert (verdict.acked, verdict.refused, verdict.unknown) == (0, 0, 0)


def test_a_flood_can_be_waited_for(s3: FakeS3, client: Any) -> None:
    """A test can act on what has happened so far, while the flood goes on."""
    with service_factory(s3, client) as service:
        with Flood(service.server_port, Plan(threads=2)) as flood:
            flood.wait_for("acked", 20)
            flood.wait_for("refused", 3)
        assert len(flood.acked) >= 20
        with pytest.raises(AssertionError, match="acked"):
            flood.wait_for("acked", 10**9, timeout=0.01)


# --- The service's processes ----------------------------------------------------------------------


APP = """
import json, os, sys
print("plain words", json.dumps([1]), sep="\\n", flush=True)
print(json.dumps({"event": "started"}), flush=True)

def app(environ, start_response):
    said = {"path": environ["PATH_INFO"], "env": dict(os.environ)}
    said["sent"] = environ["wsgi.input"].read().decode()
    start_response("200 OK", [("X-Pid", str(os.getpid()))])
    return [json.dumps(said).encode()]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write the smallest service that gunicorn can run."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "wsgi.py").write_text(APP)
    (root / "gunicorn.conf.py").write_text("workers = 2\ncontrol_socket_disable = True\n")
    return root


def test_the_service_runs_in_a_clean_environment(
    s3: FakeS3, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows its settings and the fake S3, and nothing of the shell that runs the tests."""
    monkeypatch.setenv("MAX_QUEUE", "17")
    monkeypatch.setenv("AWS_PROFILE", "somebody")
    with Service(tmp_path, s3, settings={"MAX_WORKERS": 3}, root=root) as service:
        seen = service.get("/x").json()["env"]
        assert service.environ().items() <= seen.items()
        assert seen["MAX_WORKERS"] == "3"
        assert seen["AWS_ENDPOINT_URL_S3"] == s3.endpoint
        assert not {"MAX_QUEUE", "AWS_PROFILE"} & seen.keys()
        assert service.post("/y", {"a": 1}).json()["sent"] == '{"a": 1}'
        assert service.post("/y", b"\n").json()["sent"] == "\n"
        assert service.wait_stats(lambda stats: stats["path"] == "/stats")
        assert service.rss_bytes() > 10_000_000


def test_a_killed_child_is_replaced_and_a_stop_is_clean(
    s3: FakeS3, tmp_path: Path, root: Path
) -> None:
    """The signals reach who they are meant for, and the service may be started again."""
    with Service(tmp_path, s3, root=root) as service:
        wait_until(lambda: len(service.children()) == 2, timeout=10, what="two children")
        killed = service.kill_random_child(random.Random(1))
        wait_until(lambda: len(service.children()) == 2, timeout=10, what="its replacement")
        assert killed not in service.children()
        assert service.pid not in service.children()
        service.terminate()
        assert service.wait(10) == 0
        service.start()
        service.wait_ready()
        logs = service.logs()
        assert logs.events.count({"event": "started"}) >= 4
        assert {"plain words", "[1]"} <= set(logs.raw)


def test_no_process_outlives_its_service(s3: FakeS3, tmp_path: Path, root: Path) -> None:
    """Not even orphans: with the master killed first, its children are found and reaped."""
    with Service(tmp_path, s3, root=root) as service:
        wait_until(lambda: len(service.children()) == 2, timeout=10, what="two children")
        children = service.children()
        # A stopped orphan cannot notice that its master has gone, and end by itself.
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        service.signal(signal.SIGKILL)
        assert service.wait(10) == -signal.SIGKILL
        assert service.processes() == children
    assert service.processes() == []


def test_a_service_that_does_not_start_says_why(s3: FakeS3, tmp_path: Path, root: Path) -> None:
    """The failure quotes the log, and nothing is left running."""
    (root / "wsgi.py").write_text("raise ValueError('no settings today')")
    service = Service(tmp_path, s3, root=root)
    with pytest.raises(AssertionError, match="no settings today"):
        service.__enter__()
    assert service.processes() == []
