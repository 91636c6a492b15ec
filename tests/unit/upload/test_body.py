"""The body of an object: measured once, sent any number of times, the same bytes each time."""

import io
import os
import zlib
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from urllib3 import HTTPResponse

from workers.upload.body import BodyChanged, BodyStream, ObjectBody
from workers.upload.compression import CONTENT_ENCODINGS, pack, unpack

# Neither gzip nor zstd makes these smaller; a run is longer than a piece, and one is shorter.
RUNS = [os.urandom(300_000).replace(b"\n", b"?") + b"\n", b"{}\n", b"[]\n" * 70_000]
TEXT = b"".join(RUNS)


def as_text(value: str | bytes) -> str:
    """Return a header's value; botocore has both kinds."""
    return value.decode() if isinstance(value, bytes) else value


def streamed(kind: str = "none", runs: list[bytes] | None = None) -> ObjectBody:
    """Make a body that does not fit into memory."""
    kept = RUNS if runs is None else runs
    return pack(lambda: kept, compression=kind, memory_bytes=1000).body


@pytest.mark.parametrize("kind", sorted(CONTENT_ENCODINGS))
def test_a_streamed_body_is_the_body_in_memory(kind: str) -> None:
    """Length, checksum and bytes are those of a body that is kept in memory."""
    kept = pack(lambda: RUNS, compression=kind, memory_bytes=1 << 30).body
    stream = streamed(kind)
    data = kept.open()
    assert isinstance(data, bytes)
    opened = stream.open()
    assert isinstance(opened, BodyStream)
    assert opened.read() == data
    assert (stream.length, stream.checksum) == (len(data), kept.checksum)
    assert kept.crc32 == zlib.crc32(data)
    assert unpack(data, compression=CONTENT_ENCODINGS[kind]) == TEXT


def test_a_stream_is_read_in_parts_and_again() -> None:
    """What signs a request reads the stream, rewinds it, and what sends it reads it again."""
    stream = streamed("gzip").open()
    assert isinstance(stream, BodyStream)
    parts = list(iter(lambda: stream.read(1000), b""))
    assert {len(part) for part in parts[:-1]} == {1000}
    assert stream.tell() == len(stream) == sum(map(len, parts))
    assert stream.seek(0) == 0
    assert stream.read() == b"".join(parts)
    assert (stream.read(10), stream.read()) == (b"", b"")


def test_a_stream_tells_its_length_by_seeking() -> None:
    """Some clients seek to the end and back instead of asking for the length."""
    stream = streamed().open()
    assert isinstance(stream, BodyStream)
    assert stream.seek(0, io.SEEK_END) == len(TEXT)
    assert stream.read() == b""
    assert stream.seek(0) == 0
    assert stream.seek(0, io.SEEK_CUR) == 0
    assert stream.read() == TEXT
    with pytest.raises(io.UnsupportedOperation):
        stream.seek(5)


@pytest.mark.parametrize("second", [RUNS[:2], [*RUNS, b"{}\n"], [RUNS[0], b"[]\n", RUNS[2]]])
def test_other_bytes_at_the_second_reading_are_never_sent_whole(second: list[bytes]) -> None:
    """A file that changed between the passes breaks the request off, and says so."""
    runs = list(RUNS)
    body = streamed(runs=runs)
    runs[:] = second
    stream = body.open()
    assert isinstance(stream, BodyStream)
    with pytest.raises(BodyChanged):
        stream.read()
    assert isinstance(body.failure, BodyChanged)


def test_what_makes_the_bytes_may_fail() -> None:
    """The cause is kept: an HTTP client hides it in an error of the network."""
    tries = iter([RUNS, None])

    def read() -> Iterator[bytes]:
        runs = next(tries)
        if runs is None:
            raise OSError(5, "Input/output error")
        yield from runs

    body = pack(read, compression="none", memory_bytes=0).body
    with pytest.raises(OSError, match="Input/output"):
        BodyStream(body).read()
    assert isinstance(body.failure, OSError)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "https://127.0.0.1:9"])
def test_boto3_sends_a_stream_whole_with_its_length(endpoint: str) -> None:
    """Whether it signs the body or not, botocore sends every byte, not chunked."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1, "mode": "standard"}),
    )
    requests: list[Any] = []

    def answer(request: Any, **_: Any) -> AWSResponse:
        headers = {name: as_text(value) for name, value in request.headers.items()}
        requests.append((headers, request.body.read()))
        return AWSResponse(request.url, 200, {}, HTTPResponse(io.BytesIO(), preload_content=False))

    client.meta.events.register("before-send.s3", answer)
    body = streamed()
    client.put_object(Bucket="b", Key="k", Body=body.open(), ChecksumCRC32=body.checksum)
    [(headers, sent)] = requests
    assert sent == TEXT
    assert headers["Content-Length"] == str(len(TEXT))
    assert headers["x-amz-checksum-crc32"] == body.checksum
    assert "Transfer-Encoding" not in headers
