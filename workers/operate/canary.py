"""The object that `check` puts, and what has to come back of it. Knows no step and no message."""

import contextlib
import os
from dataclasses import dataclass

from workers.errors import BucketBrigadeError
from workers.segments.key_template import KeyTemplate
from workers.segments.naming import Clock, segment_name
from workers.segments.values import NO_VALUE
from workers.settings.puts import ARCHIVES, PutSettings
from workers.settings.settings import Settings
from workers.upload.compression import CONTENT_ENCODINGS, Packed, pack
from workers.upload.reading import UnreadableObject, decompress
from workers.upload.s3 import Bucket, Stored

# More than the 1 MiB that nginx lets through by default, where objects may be as large.
CANARY_BYTES = (1 << 21) + (1 << 18)
LINE_BYTES = 1 << 10


@dataclass(frozen=True, slots=True)
class Canary:
    """An object as the service makes them."""

    key: str
    absent: str
    packed: Packed
    metadata: dict[str, str]
    encoding: str | None
    puts: PutSettings

    @classmethod
    def make(cls, settings: Settings) -> "Canary":
        """Make one of random lines: it is no smaller when it is compressed."""
        size = min(CANARY_BYTES, 2 * settings.object_target_bytes)
        count = max(1, size // LINE_BYTES)
        lines = b"".join(b'{"check":"%s"}\n' % os.urandom(500).hex().encode() for _ in range(count))
        packed = pack(lambda: [lines], compression=settings.compression, memory_bytes=2 * size)
        clock = Clock()
        name, other = segment_name(clock.tick()), segment_name(clock.tick())
        template = KeyTemplate.parse(settings.key_template)
        partition = "/".join(["check", *([NO_VALUE] * len(template.fields))])
        return cls(
            key=template.key(partition, name),
            absent=template.key(partition, other),
            packed=packed,
            metadata={
                "segment": name,
                "payloads": str(count),
                "size": str(packed.size),
                "crc32": f"{packed.crc:08x}",
                "stored-size": str(packed.body.length),
            },
            encoding=CONTENT_ENCODINGS[settings.compression],
            puts=settings,
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
        self._compare_options(found)
        known = {
            "Content-Length": found.size,
            "ETag": found.etag,
            "Last-Modified": found.modified,
        }
        absent = [name for name, value in known.items() if value is None]
        return f"its answer has no {', no '.join(absent)}" if absent else None

    def _compare_options(self, found: Stored) -> None:
        """See that a store did what it was asked to: some pass over what they do not know."""
        asked, kept = self.puts, (found.storage_class or "STANDARD")
        if asked.s3_sse not in {None, found.sse}:
            raise BucketBrigadeError(f"S3_SSE={asked.s3_sse}, but it is stored with {found.sse}")
        if asked.s3_storage_class not in {None, kept}:
            raise BucketBrigadeError(
                f"S3_STORAGE_CLASS={asked.s3_storage_class}, but it is stored as {kept}"
            )

    def get(self, bucket: Bucket, place: str) -> str | None:
        """Compare the bytes and the encoding."""
        if self.puts.s3_storage_class in ARCHIVES:
            return f"not tried: {self.puts.s3_storage_class} cannot be read before it is restored"
        body, encoding = bucket.get(place, self.key)
        sent = b"".join(self.packed.body.chunks())
        if body != sent:
            raise BucketBrigadeError(self._difference(body, sent))
        if encoding != self.encoding:
            raise BucketBrigadeError(
                f"Content-Encoding came back as {encoding}, and {self.encoding} was put; where"
                " readers go by it set COMPRESSION=none"
            )
        return None

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
