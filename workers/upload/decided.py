"""Which bucket a segment goes to: that of its header, unless an operator has decided otherwise."""

import contextlib
import time
from collections.abc import Callable

from workers.errors import ObjectMissing, StoreUnavailable
from workers.segments.segment import Header
from workers.spool.decisions import Decisions
from workers.upload.s3 import Bucket

# A PUT whose answer was lost may take effect for so long. None begins after a decision.
SETTLE_SECONDS = 60.0


class Decided:
    """The decisions as the uploader follows them. Blocks on the disk, and on S3 where there is one.

    Exactly once holds: no PUT to an earlier bucket begins once there is a decision, those before it
    have settled when the earlier buckets are looked at, and one that holds the object keeps it.
    """

    def __init__(
        self, bucket: Bucket, decisions: Decisions, *, now: Callable[[], float] = time.time
    ) -> None:
        self._bucket = bucket
        self._decisions = decisions
        self._now = now

    def bucket_for(self, header: Header) -> str | None:
        """Return the bucket that a segment goes to; None if it becomes a dead letter.

        Raises:
            StoreUnavailable: whether an earlier bucket holds the object is not known yet.
            UnreadableDecision: see there.
        """
        decision = self._decisions.find(header.name)
        if decision is None:
            return header.bucket
        if 0 <= self._now() - decision.written_at < SETTLE_SECONDS:
            raise StoreUnavailable("an operator has decided; requests settle", reason="other")
        is_burial = decision.bucket is None
        for bucket in decision.earlier:
            held = contextlib.suppress(StoreUnavailable) if is_burial or not decision.look else None
            with held or contextlib.nullcontext():
                if bucket != decision.bucket and self._holds(bucket, header):
                    return bucket
        return decision.bucket

    def _holds(self, bucket: str, header: Header) -> bool:
        """Whether a bucket has the segment's object, or half of it. Its key names the segment."""
        try:
            found = self._bucket.head(bucket, header.key)
        except ObjectMissing:
            return False
        return found.metadata.get("segment", header.name) == header.name
