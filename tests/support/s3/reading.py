"""What GET, HEAD and a listing answer, and when a condition holds."""

import base64
import re
import time
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from urllib.parse import quote
from xml.sax.saxutils import escape

from tests.support.s3.messages import Answer, Request, S3Error
from tests.support.s3.objects import StoredObject

ASKED = (
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-storage-class",
)


def check_precondition(headers: Mapping[str, str], present: StoredObject | None) -> None:
    """Apply a PUT's `If-None-Match` and `If-Match`.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html

    Raises:
        S3Error: it does not hold.
    """
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    if none_match not in {None, "*"}:
        raise S3Error(501, "NotImplemented", "If-None-Match takes only *.")
    if match and present is None:
        raise S3Error(404, "NoSuchKey", "The specified key does not exist.")
    broken = match and present and match.strip('"') != present.etag.strip('"')
    if broken or (none_match and present):
        raise S3Error(412, "PreconditionFailed", "A precondition you specified did not hold.")


def object_headers(request: Request, stored: StoredObject) -> dict[str, str]:
    """Describe an object, as GET and HEAD do."""
    headers = {
        "ETag": stored.etag,
        "Last-Modified": formatdate(stored.modified, usegmt=True),
        "Accept-Ranges": "bytes",
        "Content-Type": stored.content_type,
    }
    if stored.content_encoding:
        headers["Content-Encoding"] = stored.content_encoding
    headers |= {f"x-amz-meta-{name}": value for name, value in stored.metadata.items()}
    # What a PUT asks for: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
    asked = {name: stored.put_headers.get(name, "") for name in ASKED}
    headers |= {name: value for name, value in asked.items() if value not in {"", "STANDARD"}}
    whole = "range" not in request.headers
    if whole and request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
        headers |= {**stored.checksums, "x-amz-checksum-type": "FULL_OBJECT"}
    return headers


def cut_range(spec: str, body: bytes) -> tuple[bytes, str]:
    """Cut a `Range: bytes=…` out of a body; return it with its Content-Range (RFC 9110, 14.2).

    Raises:
        S3Error: nothing of the body is in the range.
    """
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", spec)
    if not found or found[0] == "bytes=-":
        raise S3Error(501, "NotImplemented", "One range of bytes, please.")
    first, last = found.groups()
    start = int(first) if first else max(0, len(body) - int(last))
    stop = min(int(last) + 1, len(body)) if first and last else len(body)
    if start >= stop:
        raise S3Error(416, "InvalidRange", "The requested range is not satisfiable.")
    return body[start:stop], f"bytes {start}-{stop - 1}/{len(body)}"


def list_answer(
    request: Request, objects: Mapping[str, StoredObject], keys: Sequence[str], *, more: bool
) -> Answer:
    """Write a page of ListObjectsV2."""
    encoding = request.query.get("encoding-type", "")
    shown = quote if encoding == "url" else escape
    parts = [f"<EncodingType>{encoding}</EncodingType>"] if encoding else []
    parts += [f"<Name>{request.bucket}</Name><Prefix>{shown(request.query.get('prefix', ''))}"]
    parts += [f"</Prefix><KeyCount>{len(keys)}</KeyCount>"]
    parts += [f"<MaxKeys>{escape(request.query.get('max-keys', '1000'))}</MaxKeys>"]
    parts += [f"<IsTruncated>{str(more).lower()}</IsTruncated>"]
    if more and keys:
        token = base64.urlsafe_b64encode(keys[-1].encode()).decode()
        parts += [f"<NextContinuationToken>{token}</NextContinuationToken>"]
    for key in keys:
        stored = objects[key]
        moment = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(stored.modified))
        parts += [f"<Contents><Key>{shown(key)}</Key><LastModified>{moment}</LastModified>"]
        parts += [f"<ETag>{escape(stored.etag)}</ETag><Size>{len(stored.body)}</Size>"]
        parts += ["<StorageClass>STANDARD</StorageClass></Contents>"]
    namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    xml = f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{namespace}">'
    body = "".join([xml, *parts, "</ListBucketResult>"]).encode()
    return Answer(200, {"Content-Type": "application/xml"}, body)
