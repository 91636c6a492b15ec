"""The watermark of a spool, which the processes of a machine share.

Each process writes into its counters up to when what it has created is stored or dead; one of
them publishes the least of all. `step` is one round, and blocks on disk and S3.
"""

import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec

from workers.segments.naming import named_from
from workers.settings.settings import Settings
from workers.spool.adoption import Adoption
from workers.spool.counters import Counters, Field, UnknownCounters
from workers.spool.disk import NO_WAIT, WAIT, DirectoryLock, lock_directory
from workers.spool.documents import create_file, make_directory, read_retired
from workers.spool.process_spool import ProcessSpool
from workers.spool.spool import RETIRED, Spool
from workers.upload.s3 import Bucket
from workers.watermarks.watermark import Watermark, watermark_key

DIRECTORY, ID = "watermark", "id"
_ID = re.compile(r"[0-9a-f]{32}")


class SpoolWatermark(Watermark):
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
        super().__init__(bucket, place=settings.s3_bucket, seconds=settings.watermark_seconds)
        self._spool = spool
        self._own = own
        self._adoption = adoption
        self._opened_from = opened_from
        self._lock: DirectoryLock | None = None

    def step(self) -> None:
        """Update this process's counters; publish, if this process is the one that does."""
        self.update()
        if self._is_publisher():
            # Before the counters are read: a process that comes later creates nothing earlier.
            now = named_from()
            least = least_watermark(self._spool, default=now)
            if least is None:
                self.note.report("a process of the spool says nothing yet")
            else:
                self._publish(min(now, least))

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

    def _publish(self, through: int, *, is_final: bool = False) -> None:
        try:
            key = watermark_key(self._spool_id())
        except OSError as error:
            self.note.report(str(error))
        else:
            self.note.publish(key, through, is_final=is_final)

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
