"""Receipts: what a 202 returns, and what became of it. Nothing is stored; all of it is derived.

An id holds its object's bucket and key, first line and count, and a MAC over them, so that any
process on any machine can tell a receipt that was given from one that was made up. With an access
file it holds the stream, too, which says whose keys may look it up; where a collection went to
several partitions, which of its payloads these are, if they are few ranges.
"""

import base64
import binascii
import contextlib
import dataclasses
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from workers.errors import BucketBrigadeError, ObjectMissing
from workers.segments.naming import NAME, dead_marker
from workers.segments.partitions import Indexes
from workers.segments.segment import Header, Receipt
from workers.settings.settings import Settings
from workers.spool.decisions import Decisions, UnreadableDecision
from workers.stores.found import Found, State
from workers.upload.reading import decompress
from workers.upload.s3 import Bucket, Stored

MAX_MARKER_BYTES = 1 << 16
_MAC_BYTES = 12
# An id with more would be too long for a URL.
MAX_ID_RANGES = 16


class UnknownReceipt(BucketBrigadeError):
    """This receipt was never issued."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a receipt's id says; `stream` is None in one that was issued without an access file."""

    id: str
    bucket: str
    key: str
    name: str
    first_line: int
    count: int
    stream: str | None = None
    indexes: Indexes | None = None


class Status(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What became of a receipt's payloads. `size` (bytes) and `stored_at` once they are stored."""

    id: str
    state: State
    object: str
    first_line: int
    count: int
    indexes: Indexes | None = None
    size: int | None = None
    stored_at: float | None = None
    reason: str | None = None


class Issuer:
    """Issues the receipts of one segment: what their ids share is packed and signed once."""

    def __init__(self, place: bytes, mac: "hashlib.blake2b") -> None:
        self._place = place.decode()
        self._mac = mac.copy()
        self._mac.update(place)

    def issue(self, first_line: int, count: int, indexes: Indexes | None = None) -> str:
        """Return a receipt's id; safe in a URL path. Does not block."""
        lines = f".{first_line}.{count}"
        if indexes is not None and len(indexes) <= MAX_ID_RANGES:
            lines += "." + "_".join([f"{first}-{last}" for first, last in indexes])
        mac = self._mac.copy()
        mac.update(lines.encode())
        return f"{self._place}{lines}.{mac.hexdigest()}"


class Receipts:
    """Issues receipts and looks them up.

    `look` says what the store knows of a segment; `decisions` are those of operators, where there
    can be any.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        bucket: Bucket,
        look: Callable[[str], Found | None],
        decisions: Decisions | None = None,
    ) -> None:
        # Without a secret the bucket's name stands in: that stops accidents, not forgers. A forged
        # receipt still sees nothing: it cannot name another bucket, nor guess a segment's name.
        self._only_bucket = None if settings.receipt_secret else settings.s3_bucket
        secret = settings.receipt_secret or f"bucket-brigade {settings.s3_bucket}"
        self._mac = hashlib.blake2b(
            key=hashlib.sha256(secret.encode()).digest(), digest_size=_MAC_BYTES
        )
        self._names_streams = settings.access_file is not None
        self._bucket = bucket
        self._look = look
        self._decisions = decisions

    def issue(self, receipt: Receipt) -> str:
        """Return the id of a receipt; safe in a URL path. Does not block."""
        return self.issuer(receipt.header).issue(receipt.first_line, receipt.count)

    def issuer(self, header: Header) -> "Issuer":
        """Return what issues the receipts of one segment. Does not block."""
        stream = header.stream if self._names_streams else None
        # A payload's value in the key may look like a name.
        found = NAME.search(header.key)
        name = None if found and found.group() == header.name else header.name
        return Issuer(_pack(header.bucket, header.key, stream, name), self._mac)

    def claim(self, id: str) -> Claim:
        """Read an id.

        Raises:
            UnknownReceipt: it was not issued here, or has been changed.
        """
        signed, _, mac = id.rpartition(".")
        try:
            place, first_line, count, *ranges = signed.split(".")
            if not hmac.compare_digest(mac.encode(), self._sign(signed.encode()).encode()):
                raise UnknownReceipt(id)
            decoded = base64.urlsafe_b64decode(place + "=" * (-len(place) % 4)).decode()
            bucket, key, *more = decoded.split("\n")
            name = NAME.search(more[1] if len(more) > 1 else key)
            if name is None or self._only_bucket not in (None, bucket):
                raise UnknownReceipt(id)
            stream = more[0] if more and more[0] else None
            indexes = _read_ranges(ranges[0]) if ranges else None
            where = bucket, key, name.group()
            return Claim(id, *where, int(first_line), int(count), stream, indexes)
        except (ValueError, binascii.Error) as error:
            raise UnknownReceipt(id) from error

    def look_up(self, id: str) -> Status:
        """Find out what became of a receipt's payloads. Blocks on the store, and on S3 if need be.

        Raises:
            UnknownReceipt: see there.
            StoreUnavailable: nothing is known here, and S3 does not answer.
        """
        claim = self.claim(id)
        return self.local_status(claim) or self.stored_status(claim)

    def local_status(self, claim: Claim) -> Status | None:
        """Return what the store knows, or None: then S3 has to be asked. Blocks on the store only.

        To be asked before S3: a segment leaves the store only once it is in S3.
        """
        found = self._look(claim.name)
        return None if found is None else _status(claim, **msgspec.structs.asdict(found))

    def stored_status(self, claim: Claim) -> Status:
        """Ask S3 what became of the payloads of a receipt that is not known here. Blocks on it.

        Raises:
            StoreUnavailable: see there.
        """
        claim = self._moved(claim)
        try:
            stored = self._stored(claim)
        except ObjectMissing:
            return self._status_elsewhere(claim)
        if _hit(claim, stored.metadata.get("lost-lines", "")) or not _holds(stored, claim):
            # No receipt is given for lines that are not in the segment's file, synced.
            reason = "its lines are among those that damage to the spool took"
            return _status(claim, state="dead", reason=reason)
        return _status(claim, state="stored", size=stored.size, stored_at=stored.modified)

    def accepted(self, claim: Claim, *, reason: str) -> Status:
        """Return the state of a claim of which no more can be found out here. Does not block."""
        return _status(claim, state="accepted", reason=reason)

    def payloads(self, id: str) -> list[bytes]:
        """Read a receipt's lines, as they were sent, out of S3. Blocks on the network.

        Raises:
            UnknownReceipt, UnreadableObject, ObjectMissing, StoreUnavailable: see there.
        """
        claim = self._moved(self.claim(id))
        if not _holds(self._stored(claim), claim):
            raise ObjectMissing(claim.key)
        body, _ = self._bucket.get(claim.bucket, claim.key)
        lines = decompress(body).split(b"\n")
        return lines[claim.first_line - 1 : claim.first_line - 1 + claim.count]

    def _moved(self, claim: Claim) -> Claim:
        """Return a claim with the bucket that holds its object, where an operator sent it away."""
        try:
            decision = self._decisions.find(claim.name) if self._decisions else None
        except UnreadableDecision:
            return claim
        for bucket in [decision.bucket, *decision.earlier] if decision else []:
            moved = dataclasses.replace(claim, bucket=bucket or claim.bucket)
            with contextlib.suppress(ObjectMissing):
                self._stored(moved)
                return moved
        return claim

    def _stored(self, claim: Claim) -> Stored:
        """Look at the claim's object; one that says that it is another's is none.

        Some stores, and proxies, give no metadata back: then its name, which is in the key, says
        whose it is.
        """
        stored = self._bucket.head(claim.bucket, claim.key)
        if stored.metadata.get("segment", claim.name) != claim.name:
            raise ObjectMissing(claim.key)
        return stored

    def _status_elsewhere(self, claim: Claim) -> Status:
        """Neither here nor stored: another machine has it still, or has left a note."""
        try:
            marker = dead_marker(claim.name)
            note, _ = self._bucket.get(claim.bucket, marker, most=MAX_MARKER_BYTES)
            reason = str(json.loads(note)["reason"])
        except (ObjectMissing, ValueError, LookupError, TypeError):
            return _status(claim, state="accepted")
        return _status(claim, state="dead", reason=reason)

    def _sign(self, signed: bytes) -> str:
        mac = self._mac.copy()
        mac.update(signed)
        return mac.hexdigest()


def _status(claim: Claim, **more: Any) -> Status:
    place = f"s3://{claim.bucket}/{claim.key}"
    return Status(
        id=claim.id,
        object=place,
        first_line=claim.first_line,
        count=claim.count,
        indexes=claim.indexes,
        **more,
    )


def _read_ranges(text: str) -> Indexes:
    ranges = [each.split("-") for each in text.split("_")]
    return tuple((int(first), int(last)) for first, last in ranges)


@lru_cache(maxsize=256)
def _pack(bucket: str, key: str, stream: str | None, name: str | None) -> bytes:
    """Write where an object is in letters that are safe in a URL path."""
    # None can hold a newline; an access point's ARN holds a slash.
    more = [] if name is None and stream is None else [stream or ""]
    place = "\n".join([bucket, key, *more, *([] if name is None else [name])])
    return base64.urlsafe_b64encode(place.encode()).rstrip(b"=")


def _holds(stored: Stored, claim: Claim) -> bool:
    """Whether an object goes on to the last of a claim's lines, as far as its metadata says."""
    payloads = stored.metadata.get("payloads", "")
    return not payloads.isdecimal() or claim.first_line + claim.count - 1 <= int(payloads)


def _hit(claim: Claim, lost_lines: str) -> bool:
    """Whether any of a claim's lines is in ranges such as `3-5,9-9`."""
    ranges = re.findall(r"(\d+)-(\d+)", lost_lines)
    end = claim.first_line + claim.count
    return any(int(first) < end and claim.first_line <= int(last) for first, last in ranges)
