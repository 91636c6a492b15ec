"""`check`: do once, on a canary, all that the service does, and name precisely what fails."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from workers.errors import (
    BucketBrigadeError,
    ObjectExists,
    ObjectMissing,
    StoreError,
    StoreUnavailable,
)
from workers.segments.naming import Clock, object_key, segment_name
from workers.settings import Settings
from workers.spool.spool import Spool
from workers.upload.compression import CONTENT_ENCODINGS, Packed, pack
from workers.upload.reading import UnreadableObject, decompress
from workers.upload.s3 import Bucket

# More than the 1 MiB that nginx lets through by default, where objects may be as large.
CANARY_BYTES = (1 << 21) + (1 << 18)
LINE_BYTES = 1 << 10
# What boto3's config file holds: there are no variables for it.
STYLE = "`s3 = addressing_style = {}` in boto3's config file"


@dataclass(frozen=True, slots=True)
class Result:
    """One thing that was tried; `fault` says what is missing, `note` what is only worth knowing."""

    what: str
    fault: str | None = None
    note: str | None = None


# What is tried, the IAM action that it needs, and the function that tries it; it returns a note.
Step = tuple[str, str, Callable[[], str | None]]
Variants = Mapping[str, Callable[[], Bucket]]


def variants(settings: Settings) -> Variants:
    """Return other ways to reach the bucket, by the setting that makes each."""
    checksum = {"request_checksum_calculation": "when_required"}
    virtual, path = ({"s3": {"addressing_style": style}} for style in ("virtual", "path"))
    return {
        "S3_CONDITIONAL_PUT=off": lambda: Bucket.connect(settings, conditional=False),
        "AWS_REQUEST_CHECKSUM_CALCULATION=when_required": lambda: Bucket.connect(
            settings, options=checksum
        ),
        STYLE.format("path"): lambda: Bucket.connect(settings, options=path),
        STYLE.format("virtual"): lambda: Bucket.connect(settings, options=virtual),
    }


def run_checks(
    settings: Settings, bucket: Bucket, spool: Spool, *, others: Variants | None = None
) -> Iterator[Result]:
    """Try the spool, then each call on the bucket. Blocks on the disk and on the network.

    Where the PUT fails, `others` are tried, and the first that works is named.
    """
    yield _try(f"spool {spool.root}: write, sync, lock", "", lambda: _try_spool(spool))
    canary = _Canary.make(settings)
    first, *rest = _steps(settings, bucket, canary)
    put = _try(*first)
    if put.fault is not None and (better := _better(settings, canary, others or {})):
        put = Result(put.what, f"with {better} it works; {put.fault}")
    yield put
    for step in rest:
        yield _try(*step) if put.fault is None else Result(step[0], "not tried without an object")


@dataclass(frozen=True, slots=True)
class _Canary:
    """An object as the service makes them."""

    key: str
    absent: str
    packed: Packed
    metadata: dict[str, str]
    encoding: str | None

    @classmethod
    def make(cls, settings: Settings) -> "_Canary":
        """Make one of random lines: it is no smaller when it is compressed."""
        size = min(CANARY_BYTES, 2 * settings.object_target_bytes)
        count = max(1, size // LINE_BYTES)
        lines = b"".join(b'{"check":"%s"}\n' % os.urandom(500).hex().encode() for _ in range(count))
        packed = pack(lambda: [lines], compression=settings.compression, memory_bytes=2 * size)
        clock = Clock()
        name, other = segment_name(clock.tick()), segment_name(clock.tick())
        return cls(
            key=object_key(settings.key_template, stream="check", name=name),
            absent=object_key(settings.key_template, stream="check", name=other),
            packed=packed,
            metadata={
                "segment": name,
                "payloads": str(count),
                "size": str(packed.size),
                "crc32": f"{packed.crc:08x}",
                "stored-size": str(packed.body.length),
            },
            encoding=CONTENT_ENCODINGS[settings.compression],
        )

    def put(self, bucket: Bucket, place: str, key: str) -> str | None:
        """Put it under a key."""
        answer = bucket.put(
            place, key, self.packed.body, metadata=self.metadata, encoding=self.encoding
        )
        if answer.has_content:
            raise BucketBrigadeError("the answer is a page: something answers in the store's place")
        if answer.checksum and answer.checksum != self.packed.body.checksum:
            raise BucketBrigadeError("the store took other bytes than were sent: see the proxies")
        return None if answer.etag else "its answer has no ETag"

    def replace(self, bucket: Bucket, place: str) -> str | None:
        """Replace it on condition of its ETag."""
        etag = bucket.head(place, self.key).etag
        if etag is None:
            return "not tried without an ETag"
        bucket.replace(
            place,
            self.key,
            self.packed.body,
            etag=etag,
            metadata=self.metadata,
            encoding=self.encoding,
        )
        return None

    def head(self, bucket: Bucket, place: str) -> str | None:
        """Compare what HEAD says."""
        found = bucket.head(place, self.key)
        wrong = [n for n, value in self.metadata.items() if found.metadata.get(n) != value]
        if wrong:
            raise BucketBrigadeError(
                f"the object's metadata did not come back ({', '.join(wrong)}): does the store, or"
                " a proxy before it, drop `x-amz-meta-` headers?"
            )
        if found.size not in {None, self.packed.body.length}:
            raise BucketBrigadeError(f"it says {found.size} bytes of {self.packed.body.length}")
        known = {
            "Content-Length": found.size,
            "ETag": found.etag,
            "Last-Modified": found.modified,
        }
        absent = [name for name, value in known.items() if value is None]
        return f"its answer has no {', no '.join(absent)}" if absent else None

    def get(self, bucket: Bucket, place: str) -> None:
        """Compare the bytes and the encoding."""
        body, encoding = bucket.get(place, self.key)
        sent = b"".join(self.packed.body.chunks())
        if body != sent:
            raise BucketBrigadeError(self._difference(body, sent))
        if encoding != self.encoding:
            raise BucketBrigadeError(
                f"Content-Encoding came back as {encoding}, and {self.encoding} was put; where"
                " readers go by it set COMPRESSION=none"
            )

    def _difference(self, body: bytes, sent: bytes) -> str:
        with contextlib.suppress(UnreadableObject):
            if decompress(body) == decompress(sent):
                return "it is decompressed on the way: mend the proxy, or set COMPRESSION=none"
        if sent in body:
            return (
                "the store keeps what frames a body on the wire as data; set"
                " AWS_REQUEST_CHECKSUM_CALCULATION=when_required"
            )
        return f"{len(body)} other bytes came back for {len(sent)}"


def _steps(settings: Settings, bucket: Bucket, canary: _Canary) -> list[Step]:
    place, key = settings.s3_bucket, canary.key

    def put_again() -> None:
        with contextlib.suppress(ObjectExists):
            canary.put(bucket, place, key)
            raise BucketBrigadeError("it ignores `If-None-Match: *`; set S3_CONDITIONAL_PUT=off")

    def absent() -> str | None:
        try:
            bucket.head(place, canary.absent)
        except ObjectMissing:
            return None
        except StoreUnavailable as error:
            if error.reason != "denied":
                raise
            return "a 403 without s3:ListBucket: receipts of other machines' payloads get a 503"
        raise BucketBrigadeError("it answers for an object that is not there")

    again: Step = ("put it again: refused", "s3:PutObject", put_again)
    replace: Step = (
        "replace it, if unchanged",
        "s3:PutObject",
        lambda: canary.replace(bucket, place),
    )
    conditional = settings.s3_conditional_put
    return [
        (f"put s3://{place}/{key}", "s3:PutObject", lambda: canary.put(bucket, place, key)),
        *([again] if conditional else []),
        ("head", "s3:GetObject", lambda: canary.head(bucket, place)),
        *([replace] if conditional else []),
        ("get", "s3:GetObject", lambda: canary.get(bucket, place)),
        ("head of what is not there", "s3:ListBucket", absent),
        (
            "delete",
            "s3:DeleteObject (only this check deletes)",
            lambda: bucket.delete(place, key),
        ),
    ]


def _better(settings: Settings, canary: _Canary, others: Variants) -> str | None:
    """Return the first setting with which the PUT works."""
    place = settings.s3_bucket
    for number, (name, connect) in enumerate(others.items()):
        key = f"{canary.key}.{number}"
        with contextlib.suppress(BucketBrigadeError):
            bucket = connect()
            canary.put(bucket, place, key)
            with contextlib.suppress(StoreError):
                bucket.delete(place, key)
            return name
    return None


def _try(what: str, action: str, step: Callable[[], str | None]) -> Result:
    try:
        return Result(what, note=step())
    except (BucketBrigadeError, OSError) as error:
        return Result(what, _explain(error, action))


def _try_spool(spool: Spool) -> None:
    spool.prepare()
    canary = spool.root / f".check-{os.getpid()}"
    file = spool.disk.create(canary)
    try:
        spool.disk.append(file, [b"canary"])
        spool.disk.sync(file)
    finally:
        spool.disk.close(file)
        spool.disk.unlink(canary)


def _explain(error: Exception, action: str) -> str:
    if isinstance(error, ObjectMissing):
        return f"not there ({error}); does the bucket exist, and may we {action}?"
    if isinstance(error, StoreUnavailable):
        hint = {
            "denied": f"credentials are missing or wrong, or lack the IAM action {action}",
            "bucket": "there is no such bucket, it is full, or it is in another region",
            "network": "the endpoint cannot be reached (AWS_ENDPOINT_URL_S3, AWS_REGION)",
        }.get(error.reason)
        return f"{hint}: {error}" if hint else str(error)
    return str(error)
