"""Receipts: what a 202 returns, and what became of it. Nothing is stored; all of it is derived.

An id holds its object's bucket and key, first line and count, and a MAC over them, so that any
process on any machine can tell a receipt that was given from one that was made up.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from workers.errors import BucketBrigadeError, ObjectMissing
from workers.segments.naming import NAME
from workers.segments.segment import Receipt, Segment
from workers.settings import Settings
from workers.spool.segment_file import OPEN
from workers.spool.spool import Spool
from workers.upload.compression import unpack
from workers.upload.s3 import Bucket, Stored

# Hidden from Hive, Athena and Spark, which pass over names that begin with an underscore.
DEAD_PREFIX = "_dead/"
MAX_MARKER_BYTES = 1 << 16
_MAC_BYTES = 12


class UnknownReceipt(BucketBrigadeError):
    """Nobody was ever given this receipt."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a receipt's id says."""

    bucket: str
    key: str
    name: str
    first_line: int
    count: int


class Status(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What became of a receipt's payloads. `size` (bytes) and `stored_at` once they are stored."""

    id: str
    state: Literal["accepted", "uploading", "stored", "dead"]
    object: str
    first_line: int
    count: int
    size: int | None = None
    stored_at: float | None = None
    reason: str | None = None


def dead_marker(name: str) -> str:
    """Return the key of the note that tells other machines that a segment is dead."""
    return f"{DEAD_PREFIX}{name}.json"


class Receipts:
    """Issues receipts and looks them up."""

    def __init__(
        self,
        settings: Settings,
        *,
        bucket: Bucket,
        spool: Spool,
        held: Callable[[str], Segment | None],
    ) -> None:
        # Without a secret the bucket's name stands in: that stops accidents, not forgers. A forged
        # receipt still sees nothing: it cannot name another bucket, nor guess a segment's name.
        self._only_bucket = None if settings.receipt_secret else settings.s3_bucket
        secret = settings.receipt_secret or f"bucket-brigade {settings.s3_bucket}"
        self._mac = hashlib.blake2b(
            key=hashlib.sha256(secret.encode()).digest(), digest_size=_MAC_BYTES
        )
        self._bucket = bucket
        self._spool = spool
        self._held = held

    def issue(self, receipt: Receipt) -> str:
        """Return the id of a receipt; safe in a URL path. Does not block."""
        place = _pack(receipt.header.bucket, receipt.header.key)
        said = b"%b.%d.%d" % (place, receipt.first_line, receipt.count)
        return f"{said.decode()}.{self._sign(said)}"

    def claim(self, id: str) -> Claim:
        """Read an id.

        Raises:
            UnknownReceipt: it was not issued here, or has been changed.
        """
        said, _, mac = id.rpartition(".")
        try:
            place, first_line, count = said.split(".")
            if not hmac.compare_digest(mac.encode(), self._sign(said.encode()).encode()):
                raise UnknownReceipt(id)
            decoded = base64.urlsafe_b64decode(place + "=" * (-len(place) % 4)).decode()
            bucket, _, key = decoded.partition("\n")
            name = NAME.search(key)
            if name is None or self._only_bucket not in (None, bucket):
                raise UnknownReceipt(id)
            return Claim(bucket, key, name.group(), int(first_line), int(count))
        except (ValueError, binascii.Error) as error:
            raise UnknownReceipt(id) from error

    def look_up(self, id: str) -> Status:
        """Find out what became of a receipt's payloads. Blocks on the disk, and on S3 if need be.

        What is here is looked for before S3 is asked: a segment leaves only once it is stored.

        Raises:
            UnknownReceipt: see there.
            StoreUnavailable: nothing is known here, and S3 does not answer.
        """
        claim = self.claim(id)
        held = self._held(claim.name)
        if held is not None:
            return self._status(id, claim, state="uploading" if held.sealed else "accepted")
        found = self._spool.find(claim.name)
        if found is not None:
            return self._status_on_disk(id, claim, found)
        try:
            stored = self._stored(claim)
        except ObjectMissing:
            return self._status_elsewhere(id, claim)
        if _hit(claim, stored.metadata.get("lost-lines", "")) or not _holds(stored, claim):
            # No receipt is given for lines that are not in the segment's file, synced.
            reason = "its lines are among those that damage to the spool took"
            return self._status(id, claim, state="dead", reason=reason)
        return self._status(id, claim, state="stored", size=stored.size, stored_at=stored.modified)

    def payloads(self, id: str) -> list[bytes]:
        """Read a receipt's very lines out of S3. Blocks on the network.

        Raises:
            UnknownReceipt, ObjectMissing, StoreUnavailable: see there.
        """
        claim = self.claim(id)
        if not _holds(self._stored(claim), claim):
            raise ObjectMissing(claim.key)
        body, encoding = self._bucket.get(claim.bucket, claim.key)
        lines = unpack(body, compression=encoding).splitlines()
        return lines[claim.first_line - 1 : claim.first_line - 1 + claim.count]

    def _stored(self, claim: Claim) -> Stored:
        """Look at the claim's object, and tell nobody about any other."""
        stored = self._bucket.head(claim.bucket, claim.key)
        if stored.metadata.get("segment") != claim.name:
            raise ObjectMissing(claim.key)
        return stored

    def _status_on_disk(self, id: str, claim: Claim, path: Path) -> Status:
        if path.suffix == ".json":
            reason = json.loads(path.read_bytes())["reason"]
            return self._status(id, claim, state="dead", reason=reason)
        state = "accepted" if path.suffix == OPEN else "uploading"
        return self._status(id, claim, state=state)

    def _status_elsewhere(self, id: str, claim: Claim) -> Status:
        """Neither here nor stored: another machine has it still, or has left a note."""
        try:
            marker = dead_marker(claim.name)
            note, _ = self._bucket.get(claim.bucket, marker, most=MAX_MARKER_BYTES)
            reason = str(json.loads(note)["reason"])
        except (ObjectMissing, ValueError, LookupError, TypeError):
            return self._status(id, claim, state="accepted")
        return self._status(id, claim, state="dead", reason=reason)

    def _status(self, id: str, claim: Claim, **more: Any) -> Status:
        place = f"s3://{claim.bucket}/{claim.key}"
        return Status(id=id, object=place, first_line=claim.first_line, count=claim.count, **more)

    def _sign(self, said: bytes) -> str:
        mac = self._mac.copy()
        mac.update(said)
        return mac.hexdigest()


@lru_cache(maxsize=256)
def _pack(bucket: str, key: str) -> bytes:
    """Write where an object is in letters that are safe in a URL path."""
    # Neither can hold a newline; an access point's ARN holds a slash.
    return base64.urlsafe_b64encode(f"{bucket}\n{key}".encode()).rstrip(b"=")


def _holds(stored: Stored, claim: Claim) -> bool:
    """Whether an object goes on to the last of a claim's lines."""
    last = claim.first_line + claim.count - 1
    return last <= int(stored.metadata.get("payloads", "0"))


def _hit(claim: Claim, lost_lines: str) -> bool:
    """Whether any of a claim's lines is in ranges such as `3-5,9-9`."""
    ranges = (part.split("-") for part in lost_lines.split(",") if part)
    end = claim.first_line + claim.count
    return any(int(first) < end and claim.first_line <= int(last) for first, last in ranges)
