"""Puts an object under its key once, and verifies it. Knows the bucket; no spool and no thread."""

import enum
import logging
from dataclasses import dataclass

from workers.errors import ObjectExists, ObjectMissing, ObjectRejected, StoreUnavailable
from workers.segments.segment import Header
from workers.upload.body import ObjectBody
from workers.upload.compression import CONTENT_ENCODINGS
from workers.upload.reading import UnreadableObject, measure
from workers.upload.s3 import Bucket, PutAnswer, Stored

log = logging.getLogger(__name__)

# The metadata by which an object is known to be ours, whole or not.
OURS = ("segment", "payloads", "size", "crc32")
# A PUT that failed for these reasons may have taken effect, or may do so later.
MAYBE_STORED = frozenset({"network", "server", "other"})


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object to put. Its metadata has all of `OURS`, and its length as `stored-size`."""

    header: Header
    body: ObjectBody
    metadata: dict[str, str]


class Found(enum.Enum):
    """What is under an object's key."""

    NOTHING = enum.auto()
    OURS = enum.auto()
    PART_OF_OURS = enum.auto()
    ANOTHER = enum.auto()


class VerifiedPut:
    """Puts objects. Safe to share; one caller at a time for each object.

    Remembers which objects a PUT without a usable answer may have stored, until that is known.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._unconfirmed: set[str] = set()

    def store(self, new: NewObject) -> bool:
        """Put an object, if it is not there; return whether the key was taken (412). Blocks.

        Where an earlier PUT may have taken effect, the object is looked for before its body is sent
        again: behind a proxy that answers too late it would be sent at every attempt.

        Raises:
            ObjectRejected: S3 refuses the object, or the key holds another one, which is left
                alone.
            StoreUnavailable: it is not stored, or that is not known.
        """
        name = new.header.name
        try:
            if name in self._unconfirmed and self._found_before(new):
                taken = False
            else:
                taken = self._put(new)
        except StoreUnavailable as error:
            if error.reason in MAYBE_STORED:
                self._unconfirmed.add(name)
            raise
        self._unconfirmed.discard(name)
        return taken

    def _put(self, new: NewObject) -> bool:
        try:
            answer = self._bucket.put(
                new.header.bucket,
                new.header.key,
                new.body,
                metadata=new.metadata,
                encoding=CONTENT_ENCODINGS[new.header.compression],
            )
        except ObjectExists:
            self._resolve(new)
            return True
        if not _is_believed(answer, new.body):
            self._confirm(new, answer)
        return False

    def _found_before(self, new: NewObject) -> bool:
        """Whether a PUT of an earlier attempt took effect after all."""
        try:
            found, stored = self._look(new)
        except StoreUnavailable as error:
            # Without s3:ListBucket a HEAD of nothing is 403: the PUT will tell.
            if error.reason == "denied":
                return False
            raise
        if found is Found.PART_OF_OURS:
            self._replace(new, stored)
        return found in (Found.OURS, Found.PART_OF_OURS)

    def _resolve(self, new: NewObject) -> None:
        """Find out whether the object under the key is ours, of a PUT whose answer was lost."""
        found, stored = self._look(new)
        if found is Found.NOTHING:
            raise StoreUnavailable("taken, then missing", reason="other")
        if found is Found.ANOTHER:
            raise ObjectRejected(f"the key {new.header.key} holds another object")
        if found is Found.PART_OF_OURS:
            self._replace(new, stored)

    def _confirm(self, new: NewObject, answer: PutAnswer) -> None:
        """Find out whether a PUT took effect whose answer does not show it."""
        read = bool(answer.checksum) and answer.checksum != new.body.checksum
        found, stored = self._look(new, read=read)
        if found is Found.PART_OF_OURS:
            # The store kept other bytes than were sent.
            self._replace(new, stored)
        elif found is not Found.OURS:
            about = {"object": f"s3://{new.header.bucket}/{new.header.key}"}
            log.warning("a success that stored nothing", extra=about)
            raise StoreUnavailable("success was answered, but nothing is stored", reason="other")

    def _replace(self, new: NewObject, stored: Stored | None) -> None:
        """Put ours in the place of a part of it."""
        answer = self._bucket.replace(
            new.header.bucket,
            new.header.key,
            new.body,
            etag=stored.etag if stored else None,
            metadata=new.metadata,
            encoding=CONTENT_ENCODINGS[new.header.compression],
        )
        if not _is_believed(answer, new.body) and self._look(new)[0] is not Found.OURS:
            raise StoreUnavailable("a part of the object could not be replaced", reason="other")

    def _look(self, new: NewObject, *, read: bool = False) -> tuple[Found, Stored | None]:
        """Find out what is under the key, by metadata; by the object itself if need be, or `read`.

        Lines are compared, not compressed bytes: another version may compress otherwise.
        """
        ours = new.metadata
        try:
            stored = self._bucket.head(new.header.bucket, new.header.key)
            given = stored.metadata
            if any(given.get(name, ours[name]) != ours[name] for name in OURS):
                return Found.ANOTHER, stored
            named = all(name in given for name in OURS)
            if named and stored.size is not None and not read:
                whole = str(stored.size) == given.get("stored-size")
            else:
                # Where a store, or a proxy before it, does not say, the object itself does.
                whole = self._has_our_lines(new)
        except ObjectMissing:
            return Found.NOTHING, None
        if whole:
            return Found.OURS, stored
        return Found.PART_OF_OURS if named else Found.ANOTHER, stored

    def _has_our_lines(self, new: NewObject) -> bool:
        try:
            size, crc = measure(self._bucket.read(new.header.bucket, new.header.key))
        except UnreadableObject:
            return False
        return (str(size), f"{crc:08x}") == (new.metadata["size"], new.metadata["crc32"])


def _is_believed(answer: PutAnswer, body: ObjectBody) -> bool:
    """Whether an answer shows that an object was stored, and none but ours.

    A captive portal, or a proxy's page, answers 200 to anything. An ETag need not be the MD5 of
    what is stored (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html).
    """
    return bool(answer.etag) and not answer.has_content and answer.checksum in ("", body.checksum)
