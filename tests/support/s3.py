"""A small S3 over real HTTP on loopback, with faults on demand: the far edge of every test.

`python -m tests.support.s3` is the server, a process of its own so that it outlives what is killed
around it; `FakeS3` is a test's handle on it. Knows the protocol of S3 and nothing of this project.
"""

import argparse
import asyncio
import base64
import bisect
import contextlib
import gzip
import hashlib
import http.client
import json
import random
import re
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from email.utils import formatdate
from pathlib import Path
from typing import Any, Literal, Self, cast
from urllib.parse import parse_qsl, quote, unquote
from xml.sax.saxutils import escape

from tests.support import wait_until

ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = "127.0.0.1"
MAX_HEAD_BYTES = 1 << 16
MAX_KEY_BYTES = 1024
# About as long as S3 waits for a client that has stopped in the middle of its body.
BODY_SECONDS = 20.0

Kind = Literal["error", "hang", "reset", "slow", "lose_answer", "half", "close_early"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What to do to the requests it matches. Of several rules the first that strikes is the one.

    error        read all, answer `status` with `code`; store nothing
    hang         read all, then nothing, until the rules are replaced (goes on as if never held up)
                 or the client leaves (nothing is stored)
    slow         the same for at most `seconds`, and it goes on even if the client left: a late PUT
    reset        RST in the middle of the body; store nothing
    close_early  read all, close without an answer; store nothing
    lose_answer  do all that was asked, then RST instead of an answer
    half         store only the first `keep` of the body (0 to 1), then RST: an evil store
    """

    kind: Kind
    probability: float = 1.0
    times: int | None = None
    methods: Sequence[str] = ("PUT",)
    key_contains: str = ""
    status: int = 503
    code: str = "SlowDown"
    seconds: float = 1.0
    keep: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object as it lies in the bucket, and how often a PUT put it there."""

    body: bytes = field(repr=False)
    content_type: str
    content_encoding: str
    metadata: Mapping[str, str]
    checksums: Mapping[str, str]
    etag: str
    modified: float
    created_count: int
    overwritten_count: int
    put_headers: Mapping[str, str]

    @property
    def stored_count(self) -> int:
        """How many PUTs of this key took effect: 1 is what exactly-once looks like."""
        return self.created_count + self.overwritten_count


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What the server has seen since it started."""

    requests: Mapping[str, int]
    faults: Mapping[str, int]
    stored: int
    half_bodies_refused: int


class S3Error(Exception):
    """An answer other than 2xx, in the words of S3's error list."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message or code


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request: path-style address, header names in lower case."""

    method: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @classmethod
    def parse(cls, head: bytes) -> Self:
        """Parse everything before the body.

        Raises:
            ValueError: this is not HTTP.
        """
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        method, target, _version = first.split(" ")
        path, _, query = target.partition("?")
        bucket, _, key = unquote(path)[1:].partition("/")
        fields = [line.split(":", 1) for line in lines]
        headers = {name.lower(): value.strip() for name, value in fields}
        return cls(method, bucket, key, dict(parse_qsl(query, keep_blank_values=True)), headers)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, before it becomes bytes."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def encode(self, method: str) -> bytes:
        """Write it as HTTP/1.1; a HEAD gets the length without the body."""
        lines = [f"HTTP/1.1 {self.status} {http.client.responses.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        # RFC 9110, section 8.6: no Content-Length on 204
        if self.status != 204:
            lines.append(f"Content-Length: {len(self.body)}")
        head = "\r\n".join([*lines, "x-amz-request-id: FAKE", "\r\n"]).encode("latin-1")
        return head if method == "HEAD" else head + self.body


def error_answer(request: Request, error: S3Error) -> Answer:
    """Write an error as S3 does: XML, or nothing at all under a HEAD."""
    if request.method == "HEAD":
        return Answer(error.status)
    xml = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{escape(error.code)}</Code>'
        f"<Message>{escape(error.message)}</Message>"
        f"<Resource>{escape(f'/{request.bucket}/{request.key}')}</Resource>"
        "<RequestId>FAKE</RequestId></Error>"
    )
    return Answer(error.status, {"Content-Type": "application/xml"}, xml.encode())


# --- What a PUT carries ---------------------------------------------------------------------------


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


# --- The buckets ----------------------------------------------------------------------------------


class Bucket:
    """The objects of one bucket, and how often each key was stored, deletions notwithstanding."""

    def __init__(self) -> None:
        self.objects: dict[str, StoredObject] = {}
        self._stored: dict[str, tuple[int, int]] = {}
        self._sorted: list[str] | None = []

    def store(self, request: Request, body: bytes, checksums: Mapping[str, str]) -> StoredObject:
        """Keep a body under the request's key, whatever was there."""
        headers = request.headers
        created, overwritten = self._stored.get(request.key, (0, 0))
        counts = created, overwritten + 1
        if request.key not in self.objects:
            counts, self._sorted = (created + 1, overwritten), None
        self._stored[request.key] = counts
        self.objects[request.key] = stored = StoredObject(
            body=body,
            content_type=headers.get("content-type", "binary/octet-stream"),
            content_encoding=headers.get("content-encoding", ""),
            metadata={n[11:]: v for n, v in headers.items() if n.startswith("x-amz-meta-")},
            checksums=checksums,
            etag=etag_of(body),
            modified=time.time(),
            created_count=counts[0],
            overwritten_count=counts[1],
            put_headers=headers,
        )
        return stored

    def remove(self, key: str) -> None:
        """Delete a key; one that is not there is as good as deleted."""
        if self.objects.pop(key, None):
            self._sorted = None

    def keys_after(self, start: str, prefix: str) -> Iterator[str]:
        """Yield, in order, the keys with a prefix that come after `start`."""
        if self._sorted is None:
            self._sorted = sorted(self.objects)
        keys = self._sorted
        first = max(bisect.bisect_right(keys, start), bisect.bisect_left(keys, prefix))
        for index in range(first, len(keys)):
            if not keys[index].startswith(prefix):
                return
            yield keys[index]


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


class Store:
    """All buckets, and the operations on them. No I/O, so that one event loop needs no lock."""

    QUERY = frozenset(
        {"x-id", "list-type", "prefix", "max-keys", "continuation-token", "start-after"}
        | {"encoding-type", "fetch-owner"}
    )

    def __init__(self, buckets: Iterable[str]) -> None:
        self.buckets = {name: Bucket() for name in buckets}
        self.stored = 0

    def perform(self, request: Request, body: bytes) -> Answer:
        """Carry out a request that has arrived whole.

        Raises:
            S3Error: the answer is not 2xx.
        """
        # An operation of S3 that is not here (ACLs, multipart, …) must not pass for one that is.
        if unknown := request.query.keys() - self.QUERY:
            raise S3Error(501, "NotImplemented", f"This server does not know {sorted(unknown)}.")
        if request.method == "PUT" and not request.key:
            return self._create_bucket(request)
        operations = {
            ("HEAD", False): self._head_bucket,
            ("GET", False): self._list,
            ("HEAD", True): self._get,
            ("GET", True): self._get,
            ("DELETE", True): self._delete,
        }
        if request.method == "PUT":
            return self._put(request, body)
        if operation := operations.get((request.method, bool(request.key))):
            return operation(request)
        raise S3Error(405, "MethodNotAllowed")

    def keep(self, request: Request, body: bytes, checksums: Mapping[str, str]) -> StoredObject:
        """Store an object if the request's preconditions allow it.

        Raises:
            S3Error: they do not, or the bucket is missing.
        """
        bucket = self._bucket(request)
        check_precondition(request.headers, bucket.objects.get(request.key))
        self.stored += 1
        return bucket.store(request, body, checksums)

    def keep_part(self, request: Request, body: bytes) -> None:
        """Store a piece of an object as if it were all of it, digests included.

        Raises:
            S3Error: as `keep`.
        """
        given = [name for name in request.headers if name in CHECKSUMS]
        self.keep(request, body, {name: CHECKSUMS[name](body) for name in given})

    def _bucket(self, request: Request) -> Bucket:
        try:
            return self.buckets[request.bucket]
        except KeyError:
            raise S3Error(404, "NoSuchBucket", "The specified bucket does not exist.") from None

    def _create_bucket(self, request: Request) -> Answer:
        # In us-east-1 creating one's own bucket again is a 200.
        self.buckets.setdefault(request.bucket, Bucket())
        return Answer(200, {"Location": f"/{request.bucket}"})

    def _head_bucket(self, request: Request) -> Answer:
        self._bucket(request)
        return Answer(200, {"x-amz-bucket-region": "us-east-1"})

    def _put(self, request: Request, body: bytes) -> Answer:
        if len(request.key.encode()) > MAX_KEY_BYTES:
            raise S3Error(400, "KeyTooLongError", "Your key is too long")
        stored = self.keep(request, body, verify(request.headers, body))
        return Answer(200, {"ETag": stored.etag, **stored.checksums})

    def _get(self, request: Request) -> Answer:
        stored = self._bucket(request).objects.get(request.key)
        if stored is None:
            raise S3Error(404, "NoSuchKey", "The specified key does not exist.")
        headers = object_headers(request, stored)
        if "range" not in request.headers:
            return Answer(200, headers, stored.body)
        body, content_range = cut_range(request.headers["range"], stored.body)
        return Answer(206, {**headers, "Content-Range": content_range}, body)

    def _delete(self, request: Request) -> Answer:
        self._bucket(request).remove(request.key)
        return Answer(204)

    def _list(self, request: Request) -> Answer:
        bucket, query = self._bucket(request), request.query
        if query.get("list-type") != "2":
            raise S3Error(501, "NotImplemented", "Only ListObjectsV2.")
        token = base64.urlsafe_b64decode(query.get("continuation-token", "")).decode()
        limit = min(1000, int(query.get("max-keys", 1000)))
        after = token or query.get("start-after", "")
        keys: list[str] = []
        for key in bucket.keys_after(after, query.get("prefix", "")):
            if len(keys) == limit:
                return list_answer(request, bucket, keys, more=True)
            keys.append(key)
        return list_answer(request, bucket, keys, more=False)


def list_answer(request: Request, bucket: Bucket, keys: Sequence[str], *, more: bool) -> Answer:
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
        stored = bucket.objects[key]
        moment = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(stored.modified))
        parts += [f"<Contents><Key>{shown(key)}</Key><LastModified>{moment}</LastModified>"]
        parts += [f"<ETag>{escape(stored.etag)}</ETag><Size>{len(stored.body)}</Size>"]
        parts += ["<StorageClass>STANDARD</StorageClass></Contents>"]
    namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    xml = f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{namespace}">'
    body = "".join([xml, *parts, "</ListBucketResult>"]).encode()
    return Answer(200, {"Content-Type": "application/xml"}, body)


# --- The server -----------------------------------------------------------------------------------


class Faults:
    """The rules in force. Chance is drawn from a seed, so that a run can be had again."""

    def __init__(self, seed: int) -> None:
        self.hits: Counter[str] = Counter()
        self.replaced = asyncio.Event()
        self._chance = random.Random(seed)
        self._rules: list[Fault] = []
        self._left: list[float] = []

    def replace(self, rules: Sequence[Fault]) -> None:
        """Put new rules in force and let go of what the old ones hold."""
        self.replaced.set()
        self.replaced = asyncio.Event()
        self._rules = list(rules)
        self._left = [float("inf") if rule.times is None else rule.times for rule in rules]

    def strike(self, request: Request) -> Fault | None:
        """Return the rule that strikes this request, and count it."""
        for index, rule in enumerate(self._rules):
            matches = request.method in rule.methods and rule.key_contains in request.key
            if matches and self._left[index] > 0 and self._chance.random() < rule.probability:
                self._left[index] -= 1
                self.hits[rule.kind] += 1
                return rule
        return None


def reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection off with a RST, as a crashed peer or a middlebox does."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Read a body of `Transfer-Encoding: chunked` (RFC 9112, section 7.1); its trailer is dropped.

    Raises:
        asyncio.IncompleteReadError: the client left before the end.
    """
    chunks = []
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return b"".join(chunks)


class Server:
    """One S3 on one port, and beside it a port to control it by, which works while S3 is down."""

    def __init__(self, *, port: int, store: Store, faults: Faults, body_seconds: float) -> None:
        self._body_seconds = body_seconds
        self._store = store
        self._faults = faults
        # Bound but never listening: while we are down the port stays ours and refuses connections.
        self._holder = self._bind(port)
        self.port: int = self._holder.getsockname()[1]
        self._listener: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._requests: Counter[str] = Counter()
        self._half_bodies = 0

    @staticmethod
    def _bind(port: int) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((LOOPBACK, port))
        return sock

    async def listen(self) -> None:
        """Accept connections; twice is the same as once."""
        if self._listener is None:
            self._listener = await asyncio.start_server(
                self._serve, sock=self._bind(self.port), limit=1 << 20, backlog=1024
            )

    def go_down(self) -> None:
        """Refuse new connections and break the open ones off. Objects stay."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in self._open:
            reset(writer)

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request on the control port."""
        request = Request.parse(await reader.readuntil(b"\r\n\r\n"))
        body = await reader.readexactly(int(request.headers.get("content-length", 0)))
        answer = await self._command(request.key, request.query, body)
        writer.write(Answer(200, {}, answer).encode(request.method))
        await writer.drain()
        writer.close()

    async def _command(self, name: str, query: Mapping[str, str], body: bytes) -> bytes:
        match name:
            case "down":
                self.go_down()
            case "up":
                await self.listen()
            case "faults":
                self._faults.replace([Fault(**rule) for rule in json.loads(body)])
            case "bucket":
                self._store.buckets.setdefault(query["name"], Bucket())
            case "objects":
                return pack(self._store.buckets[query["bucket"]].objects)
            case "counts":
                return json.dumps(asdict(self._counts())).encode()
        return b""

    def _counts(self) -> Counts:
        return Counts(
            requests=dict(self._requests),
            faults=dict(self._faults.hits),
            stored=self._store.stored,
            half_bodies_refused=self._half_bodies,
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Accepted just before we went down: too late.
        if self._listener is None:
            reset(writer)
            return
        self._open.add(writer)
        gone = (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError)
        try:
            with contextlib.suppress(*gone):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; return whether the connection lives on."""
        request = Request.parse(await reader.readuntil(b"\r\n\r\n"))
        self._requests[request.method] += 1
        fault = self._faults.strike(request)
        # Of the rules that struck, though they be replaced before the body is here.
        replaced = self._faults.replaced
        if fault and fault.kind == "reset":
            await self._read_half(request, reader, writer)
            reset(writer)
            return False
        try:
            request, body = unwrap(request, await self._read_body(request, reader, writer))
            answer = await self._act(fault, request, body, reader=reader, replaced=replaced)
        except S3Error as error:
            self._half_bodies += error.code in {"IncompleteBody", "RequestTimeout"}
            answer = error_answer(request, error)
        lost = fault is not None and fault.kind in {"lose_answer", "half"}
        if lost:
            reset(writer)
        if lost or answer is None:
            return False
        writer.write(answer.encode(request.method))
        await writer.drain()
        # After these the rest of the body may still be on its way.
        broken = answer.status in {408, 411} or b"<Code>RequestTimeout" in answer.body
        return not broken and request.headers.get("connection", "").lower() != "close"

    async def _act(
        self,
        fault: Fault | None,
        request: Request,
        body: bytes,
        *,
        reader: asyncio.StreamReader,
        replaced: asyncio.Event,
    ) -> Answer | None:
        """Do what was asked, or what the fault makes of it; None: close without an answer."""
        match fault:
            case Fault(kind="error"):
                raise S3Error(fault.status, fault.code)
            case Fault(kind="close_early"):
                return None
            case Fault(kind="half"):
                self._store.keep_part(request, body[: int(len(body) * fault.keep)])
                return None
            case Fault(kind="hang"):
                if not await self._hang(reader, replaced):
                    return None
            case Fault(kind="slow"):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(replaced.wait(), fault.seconds)
        return self._store.perform(request, body)

    async def _hang(self, reader: asyncio.StreamReader, replaced: asyncio.Event) -> bool:
        """Wait until the rules are replaced (True) or the client has left (False)."""
        let_go = asyncio.create_task(replaced.wait())
        left = asyncio.create_task(reader.read(1))
        await asyncio.wait({let_go, left}, return_when=asyncio.FIRST_COMPLETED)
        free = not left.done()
        for task in (let_go, left):
            task.cancel()
        await asyncio.gather(let_go, left, return_exceptions=True)
        return free

    async def _read_half(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._continue(request, writer)
        await reader.readexactly(int(request.headers.get("content-length", 0)) // 2)

    def _continue(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _read_body(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        """Read the body, all of it: S3 stores nothing of a half one.

        Raises:
            S3Error: it has no length, or stopped coming.
            asyncio.IncompleteReadError: the client left before the end.
        """
        headers = request.headers
        chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        needed = "x-amz-decoded-content-length" if chunked else "content-length"
        if request.method == "PUT" and request.key and needed not in headers:
            raise S3Error(411, "MissingContentLength", "You must provide Content-Length.")
        self._continue(request, writer)
        try:
            async with asyncio.timeout(self._body_seconds):
                if chunked:
                    return await read_chunks(reader)
                return await reader.readexactly(int(headers.get("content-length", 0)))
        except TimeoutError as error:
            raise S3Error(400, "RequestTimeout", "Your body did not arrive in time.") from error
        except (asyncio.IncompleteReadError, ConnectionError):
            self._half_bodies += 1
            raise


async def serve(given: argparse.Namespace) -> None:
    """Run until killed or, if `tied`, until standard input ends, as when the parent dies."""
    store, faults = Store(given.bucket), Faults(given.seed)
    server = Server(port=given.port, store=store, faults=faults, body_seconds=given.body_seconds)
    await server.listen()
    control = await asyncio.start_server(server.control, LOOPBACK, 0)
    sys.stdout.write(f"{server.port} {control.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    if given.tied:
        await asyncio.to_thread(sys.stdin.read)
    else:
        await control.serve_forever()


def main() -> None:
    """Serve S3 on loopback, after a line with its port and its control port."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0, help="of what faults leave to chance")
    parser.add_argument("--body-seconds", type=float, default=BODY_SECONDS)
    parser.add_argument("--bucket", action="append", default=[])
    parser.add_argument("--tied", action="store_true", help="end with standard input")
    asyncio.run(serve(parser.parse_args()))


# --- The handle -----------------------------------------------------------------------------------


def pack(objects: Mapping[str, StoredObject]) -> bytes:
    """Write a whole bucket as one line of JSON and then all bodies: 100,000 objects in a second."""
    names = [name for name in StoredObject.__slots__ if name != "body"]
    rows = [
        {name: getattr(stored, name) for name in names} | {"key": key, "size": len(stored.body)}
        for key, stored in objects.items()
    ]
    return b"".join([json.dumps(rows).encode(), b"\n", *(o.body for o in objects.values())])


def unpack(raw: bytes) -> dict[str, StoredObject]:
    """Read what `pack` wrote."""
    at = raw.index(b"\n") + 1
    objects = {}
    for row in json.loads(raw[:at]):
        key, size = row.pop("key"), row.pop("size")
        objects[key] = StoredObject(body=raw[at : at + size], **row)
        at += size
    return objects


def content(key: str, stored: StoredObject) -> bytes:
    """Return an object's bytes as a reader sees them: by its encoding, else by its extension.

    Raises:
        AssertionError: they cannot be decompressed.
    """
    by_extension = {".gz": "gzip", ".zst": "zstd"}.get(Path(key).suffix, "")
    try:
        match stored.content_encoding or by_extension:
            case "gzip":
                return gzip.decompress(stored.body)
            case "zstd":
                return _unzstd(stored.body)
    except Exception as error:
        raise AssertionError(f"{key} cannot be decompressed: {error!r}") from error
    return stored.body


def _unzstd(body: bytes) -> bytes:
    # Only a test that reads zstd needs it: the server runs on the standard library alone.
    import zstandard  # noqa: PLC0415

    plain = b""
    while body:
        frame = zstandard.ZstdDecompressor().decompressobj()
        plain += frame.decompress(body)
        if not frame.eof:
            raise EOFError("a frame ends early")
        body = frame.unused_data
    return plain


class FakeS3:
    """A running fake S3, with everything a test may ask of it or do to it.

    As a context manager it starts and stops the process. Every method blocks for one exchange with
    the server; `bucket` is created at the start.
    """

    def __init__(
        self,
        bucket: str = "bucket",
        *,
        port: int = 0,
        seed: int = 0,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self.bucket = bucket
        self.port = port
        self._options = ["--bucket", bucket, "--seed", seed, "--body-seconds", body_seconds]
        self._control_port = 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and wait until it listens.

        Raises:
            RuntimeError: it ended instead; its own words are on standard error.
        """
        options = ["--tied", "--port", self.port, *self._options]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.s3", *map(str, options)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C is for the service under test, which needs us while it drains.
            start_new_session=True,
        )
        ports = cast("Any", self._process.stdout).readline().split()
        if not ports:
            self.stop()
            raise RuntimeError("the fake S3 did not start")
        self.port, self._control_port = map(int, ports)

    def stop(self) -> None:
        """Kill the process, objects and all, and reap it."""
        if self._process is not None:
            with self._process as process:
                process.kill()
            self._process = None

    @property
    def endpoint(self) -> str:
        """The URL to give as `AWS_ENDPOINT_URL_S3`."""
        return f"http://{LOOPBACK}:{self.port}"

    def environ(self) -> dict[str, str]:
        """Return the variables by which boto3 finds this server and looks nowhere else."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def faults(self, *rules: Fault) -> None:
        """Put these rules in force instead of those before, and free what those held."""
        self._call("faults", json.dumps([asdict(rule) for rule in rules]).encode())

    def clear(self) -> None:
        """Serve faultlessly from now on, hung and slow requests included."""
        self.faults()

    def stop_listening(self) -> None:
        """Go down: refuse connections and break off the open ones; keep port and objects."""
        self._call("down")

    def listen_again(self) -> None:
        """Come back up on the same port."""
        self._call("up")

    def create_bucket(self, name: str) -> None:
        """Create one more bucket, past all faults."""
        self._call(f"bucket?name={quote(name)}")

    def counts(self) -> Counts:
        """Return what the server has seen so far."""
        return Counts(**json.loads(self._call("counts")))

    def wait_until(
        self, condition: Callable[[Counts], bool], *, timeout: float = 10.0, what: str = "S3"
    ) -> None:
        """Block until `condition` holds for the counts.

        Raises:
            AssertionError: it did not within `timeout` seconds.
        """
        wait_until(lambda: condition(self.counts()), timeout=timeout, what=what)

    def objects(self, bucket: str | None = None) -> dict[str, StoredObject]:
        """Fetch a bucket whole, past all faults."""
        return unpack(self._call(f"objects?bucket={quote(bucket or self.bucket)}"))

    def lines(self, bucket: str | None = None) -> list[tuple[str, int, bytes]]:
        """Return every line of every object, decompressed: key, line number from 1, the line.

        Raises:
            AssertionError: an object is not whole: broken compression, or a line without its end.
        """
        found = []
        for key, stored in sorted(self.objects(bucket).items()):
            *lines, rest = content(key, stored).split(b"\n")
            if rest:
                raise AssertionError(f"{key} ends in the middle of a line: {rest[:80]!r}")
            found += [(key, number, line) for number, line in enumerate(lines, start=1)]
        return found

    def _call(self, command: str, body: bytes = b"") -> bytes:
        connection = http.client.HTTPConnection(LOOPBACK, self._control_port, timeout=60)
        try:
            connection.request("POST", f"/_fake/{command}", body)
            return connection.getresponse().read()
        finally:
            connection.close()


if __name__ == "__main__":
    main()
