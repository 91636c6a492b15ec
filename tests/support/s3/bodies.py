"""What a PUT carries: its digests, and the chunks that boto3 wraps a body in."""

import base64
import contextlib
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.support.s3.messages import Request, S3Error


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


CHECKSUMS: Mapping[str, Callable[[bytes], str]] = {
    "x-amz-checksum-crc32": lambda body: _base64(zlib.crc32(body).to_bytes(4, "big")),
    "x-amz-checksum-sha1": lambda body: _base64(hashlib.sha1(body, usedforsecurity=False).digest()),
    "x-amz-checksum-sha256": lambda body: _base64(hashlib.sha256(body).digest()),
}
CHECKSUM_HEADER = re.compile(r"x-amz-checksum-(?:crc|sha|md|xxh)")


def etag_of(body: bytes) -> str:
    """Return the ETag of an object that was put in one part: its MD5, quoted."""
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def verify(headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    """Check every digest the client sent, and return its `x-amz-checksum-*`.

    Raises:
        S3Error: one does not match, or is of a kind this server cannot compute: a double must not
            wave through what it has not checked.
    """
    content_md5 = headers.get("content-md5")
    if content_md5 and content_md5 != _base64(hashlib.md5(body, usedforsecurity=False).digest()):
        raise S3Error(400, "BadDigest", "The Content-MD5 you specified did not match.")
    signed = headers.get("x-amz-content-sha256", "")
    if len(signed) == 64 and signed != hashlib.sha256(body).hexdigest():
        raise S3Error(400, "XAmzContentSHA256Mismatch")
    given = {name: headers[name] for name in headers if CHECKSUM_HEADER.match(name)}
    for name, value in given.items():
        if name not in CHECKSUMS:
            raise S3Error(501, "NotImplemented", f"This server does not know {name}.")
        if value != CHECKSUMS[name](body):
            raise S3Error(400, "BadDigest", f"The {name[15:]} you specified did not match.")
    return given


def decode_aws_chunked(raw: bytes) -> tuple[bytes, dict[str, str]]:
    """Take the chunks and the trailer out of an `aws-chunked` body.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html

    Raises:
        S3Error: it ends before its last chunk.
    """
    chunks, at = [], 0
    with contextlib.suppress(ValueError):
        while True:
            end = raw.index(b"\r\n", at)
            size = int(raw[at:end].partition(b";")[0], 16)
            at = end + 2
            if size == 0:
                break
            chunks.append(raw[at : at + size])
            at = raw.index(b"\r\n", at + size) + 2
        lines = raw[at : raw.index(b"\r\n\r\n", at - 2)].decode("latin-1").split("\r\n")
        fields = [line.partition(":") for line in lines if line]
        return b"".join(chunks), {name.lower().strip(): value.strip() for name, _, value in fields}
    raise S3Error(400, "IncompleteBody")


def unwrap(request: Request, raw: bytes) -> tuple[Request, bytes]:
    """Undo `aws-chunked`, so that what follows sees the object's own bytes, encoding and digests.

    Raises:
        S3Error: the body is cut short.
    """
    encodings = [name.strip() for name in request.headers.get("content-encoding", "").split(",")]
    if "aws-chunked" not in encodings:
        return request, raw
    body, trailer = decode_aws_chunked(raw)
    if len(body) != int(request.headers.get("x-amz-decoded-content-length", len(body))):
        raise S3Error(400, "IncompleteBody")
    encoding = ",".join(name for name in encodings if name != "aws-chunked")
    headers = {**request.headers, **trailer, "content-encoding": encoding}
    return replace(request, headers=headers), body
