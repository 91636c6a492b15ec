"""What all watermarks share: the thread's loop, and the note in the bucket."""

import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime

from workers.errors import ObjectMissing, QueueError, StoreError, StoreUnavailable
from workers.segments.naming import WATERMARK
from workers.upload.s3 import Bucket

log = logging.getLogger(__name__)


class Watermark(ABC):
    """One process's part in a watermark. `step` is one round; it blocks on the store and on S3."""

    def __init__(self, bucket: Bucket, *, place: str, seconds: float) -> None:
        self.note = Note(bucket, place)
        self._seconds = seconds

    def run(self, wait: Callable[[float], bool]) -> None:
        """Body of the thread `watermark`; `wait` blocks for some seconds, and is True at a stop."""
        is_over = False
        while not is_over:
            try:
                self.step()
            except (QueueError, StoreError) as error:
                self.note.report(str(error))
            except Exception:
                log.exception("watermark failed; it goes on")
            is_over = wait(self._seconds)

    @abstractmethod
    def step(self) -> None:
        """Find out how far this process is; publish, if it is the one that does."""

    @abstractmethod
    def finish(self) -> None:
        """After a stop: let another process publish, or publish the last one. Blocks."""


class Note:
    """The note in the bucket, for the one that publishes. Not thread-safe."""

    def __init__(self, bucket: Bucket, place: str) -> None:
        self._bucket = bucket
        self._place = place
        # Whether what is in the bucket is known, and then its ETag; None where there is nothing.
        self.is_known = False
        self._etag: str | None = None
        # What was logged last, so that it is not logged each time.
        self._fault: str | None = None

    def look(self, key: str) -> None:
        """See what is in the bucket. Blocks.

        Raises:
            StoreError: it cannot be seen.
        """
        try:
            self._etag = self._bucket.head(self._place, key).etag
        except ObjectMissing:
            self._etag = None
        except StoreUnavailable as error:
            # Without s3:ListBucket a HEAD of nothing is 403: the PUT will tell.
            if error.reason != "denied":
                raise
            self._etag = None
        self.is_known = True

    def forget(self) -> None:
        """Know no more what is in the bucket: another process publishes."""
        self.is_known = False

    def publish(self, key: str, through: int, *, is_final: bool = False) -> None:
        """Put it over the one that was seen, and no other; a failure is logged. Blocks.

        A PUT of a process that was killed may arrive later than one of its successor.
        """
        content = {
            "through": timestamp(through),
            "published_at": timestamp(time.time_ns() // 1000),
            **({"final": True} if is_final else {}),
        }
        try:
            if not self.is_known:
                self.look(key)
            body = json.dumps(content).encode() + b"\n"
            self._etag = self._bucket.swap_note(self._place, key, body, etag=self._etag)
        except (StoreError, OSError) as error:
            self.is_known = False
            self.report(str(error))
        else:
            self._fault = None

    def report(self, fault: str) -> None:
        """Log why none is published, unless the last line had the same reason."""
        if fault != self._fault:
            log.warning("no watermark is published now", extra={"error": fault})
        self._fault = fault


def watermark_key(id: str) -> str:
    """Return the key of the watermark of a spool, or of a queue."""
    return f"{WATERMARK}/{id}.json"


def timestamp(microseconds: int) -> str:
    """Write a time so that later ones sort behind: RFC 3339, UTC, always six decimals."""
    moment = datetime.fromtimestamp(microseconds // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{microseconds % 1_000_000:06d}Z"
