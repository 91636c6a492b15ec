"""The watermark of a spool: a note in the bucket that says up to when its objects are complete.

Each process writes into its counters up to when what it has created is stored or dead; one of
them publishes the least of all. `step` is one round, and blocks on disk and S3.
"""

import json
import logging
import os
import re
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from workers.errors import ObjectMissing, StoreError, StoreUnavailable
from workers.segments.naming import WATERMARK, named_from
from workers.settings import Settings
from workers.spool.adoption import Adoption
from workers.spool.counters import Counters, Field, UnknownCounters
from workers.spool.disk import NO_WAIT, WAIT, DirectoryLock, lock_directory
from workers.spool.documents import create_file, make_directory, read_retired
from workers.spool.process_spool import ProcessSpool
from workers.spool.spool import RETIRED, Spool
from workers.upload.s3 import Bucket

log = logging.getLogger(__name__)

DIRECTORY, ID = "watermark", "id"
_ID = re.compile(r"[0-9a-f]{32}")


class Watermark:
    """One process's part in the watermark of its spool.

    `own` is the process's directory, None where it has none yet. `opened_from` returns a time in
    microseconds since 1970 before which no segment will be created any more.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        settings: Settings,
        bucket: Bucket,
        own: Callable[[], ProcessSpool | None],
        adoption: Adoption,
        opened_from: Callable[[], int],
    ) -> None:
        self._spool = spool
        self._bucket = bucket
        self._place = settings.s3_bucket
        self._seconds = settings.watermark_seconds
        self._own = own
        self._adoption = adoption
        self._opened_from = opened_from
        self._lock: DirectoryLock | None = None
        # The ETag of what is in the bucket, while that is known.
        self._etag: str | None = None
        # What was logged last, so that it is not logged each time.
        self._fault: str | None = None

    def run(self, wait: Callable[[float], bool]) -> None:
        """Body of the thread `watermark`; `wait` blocks for some seconds, and is True at a stop."""
        is_over = False
        while not is_over:
            try:
                self.step()
            except Exception:
                log.exception("watermark failed; it goes on")
            is_over = wait(self._seconds)

    def step(self) -> None:
        """Update this process's counters; publish, if this process is the one that does."""
        self.update()
        if self._is_publisher():
            # Before the counters are read: a process that comes later creates nothing earlier.
            now = named_from()
            least = least_watermark(self._spool, default=now)
            if least is None:
                self._report("a process of the spool says nothing yet")
            else:
                self._publish(min(now, least), is_final=False)

    def update(self) -> None:
        """Write into the counters up to when all that was created is stored or dead."""
        opened_from = self._opened_from()
        own = self._own()
        for process_spool in [*([own] if own else []), *self._adoption.process_spools]:
            process_spool.publish_watermark(opened_from)

    def finish(self) -> None:
        """After a stop: publish the last one if nothing is left in the spool, by any process.

        Blocks while another process publishes its own.
        """
        now = named_from()
        try:
            # Asked again: another process may have begun meanwhile.
            if self._is_drained() and self._is_publisher(wait=True) and self._is_drained():
                self._publish(now, is_final=True)
        finally:
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def _is_drained(self) -> bool:
        return not self._spool.process_paths()

    def _is_publisher(self, *, wait: bool = False) -> bool:
        """Whether this process publishes: the first that asks, until it ends."""
        if self._lock is None:
            make_directory(self._directory)
            self._lock = lock_directory(self._directory, WAIT if wait else NO_WAIT)
        return self._lock is not None

    @property
    def _directory(self) -> Path:
        return self._spool.root / DIRECTORY

    def _publish(self, through: int, *, is_final: bool) -> None:
        note = {
            "through": timestamp(through),
            "published_at": timestamp(time.time_ns() // 1000),
            **({"final": True} if is_final else {}),
        }
        content = json.dumps(note).encode() + b"\n"
        try:
            self._put(watermark_key(self._spool_id()), content)
        except (StoreError, OSError) as error:
            self._etag = None
            self._report(str(error))
        else:
            self._fault = None

    def _put(self, key: str, content: bytes) -> None:
        """Put it over the one before, and no other.

        A PUT of a process that was killed may arrive later than one of its successor.
        """
        if self._etag is None:
            self._etag = self._look(key)
        self._etag = self._bucket.swap_note(self._place, key, content, etag=self._etag)

    def _look(self, key: str) -> str | None:
        try:
            return self._bucket.head(self._place, key).etag
        except ObjectMissing:
            return None
        except StoreUnavailable as error:
            # Without s3:ListBucket a HEAD of nothing is 403: the PUT will tell.
            if error.reason != "denied":
                raise
            return None

    def _report(self, fault: str) -> None:
        if fault != self._fault:
            log.warning("no watermark is published now", extra={"error": fault})
        self._fault = fault

    def _spool_id(self) -> str:
        """Return the spool's id; made, and synced, by the first that publishes."""
        path = self._directory / ID
        if path.exists() and _ID.fullmatch(found := path.read_text().strip()):
            return found
        made = uuid.uuid4().hex
        with create_file(path) as file:
            file.write(made.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        for directory in (self._directory, self._spool.root):
            self._spool.disk.sync_directory(directory)
        return made


def least_watermark(spool: Spool, *, default: int) -> int | None:
    """Return the least of all processes' watermarks, microseconds; None where one is unknown.

    A directory that goes while they are read has nothing left in it. One that was made to replay a
    dead letter does not count: its payloads were dead, and through, before. Blocks on the disk.
    """
    least = default
    try:
        last = read_retired(spool.root / RETIRED).last
        for path in spool.process_paths():
            # A crash may leave the directory that was retired last.
            cells = [] if path.name == last else _cells(path)
            if cells and cells[Field.DEAD] >= 0:
                least = min(least, cells[Field.WATERMARK_MICROSECONDS])
    except (OSError, UnknownCounters, msgspec.DecodeError):
        return None
    # 0 is what an older version leaves, and a process that has just begun.
    return least or None


def _cells(path: Path) -> list[int]:
    try:
        return Counters.read(path / "ledger")
    except FileNotFoundError:
        if path.exists():
            raise
        return []


def watermark_key(spool_id: str) -> str:
    """Return the key of a spool's watermark."""
    return f"{WATERMARK}/{spool_id}.json"


def timestamp(microseconds: int) -> str:
    """Write a time so that later ones sort behind: RFC 3339, UTC, always six decimals."""
    moment = datetime.fromtimestamp(microseconds // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{microseconds % 1_000_000:06d}Z"
