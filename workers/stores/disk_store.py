"""Segments as files in the spool: a group of collections is written, then each file synced once."""

import contextlib
import logging
from collections.abc import Callable, Sequence

from workers.dispatch.jobs import Job
from workers.errors import Abandoned, NotConfirmed, NotDurable
from workers.segments.future import DurabilityFuture
from workers.segments.segment import Header, Segment
from workers.spool.counters import Field
from workers.spool.frames import join
from workers.spool.process_spool import ProcessSpool
from workers.spool.segment_file import SegmentFile
from workers.spool.spool import Spool
from workers.stores.local_store import LocalStore, count

log = logging.getLogger(__name__)

# A sync of the file system costs as much as one of two files; but it waits for others' files too.
FEW_FILES = 4
# What a small collection takes of the disk.
SMALL_BYTES = 1 << 16


class DiskStore(LocalStore):
    """Keeps lines in segment files: safe once synced.

    Where a group has more than `few` files, the whole file system is synced in one call.
    """

    durable = True

    def __init__(self, spool: Spool, *, max_bytes: int, few: int = FEW_FILES) -> None:
        self._few = few
        self._sync_all: Callable[[], None] | None = None
        # A sync has failed: nothing is written any more.
        self._broken = False
        # A write has failed since the last check.
        self._write_failed = False
        super().__init__(spool, max_bytes=max_bytes)
        # Nothing is accepted before it is known what the others, and dead processes, hold.
        with contextlib.suppress(OSError):
            self.check()

    def open(self) -> bool:
        """Make the process's directory unless there is one. Blocks; False where that fails."""
        opened = super().open()
        if opened and self._sync_all is None and self._syncs_everything():
            self._sync_all = self.directory.sync_all
        return opened

    def _syncs_everything(self) -> bool:
        return self.spool.disk.syncs_everything(self.spool.root)

    def create(self, header: Header) -> Segment:
        """Make a segment that will have a file; nothing is on the disk yet."""
        directory = self.directory
        segment = Segment(header, directory.new_file(header.name))
        directory.hold(segment)
        return segment

    def append(self, group: Sequence[DurabilityFuture]) -> None:
        """Write and sync a group of collections: all of them, or none. Blocks on the disk.

        Raises:
            NotDurable: the disk took no more; what was written is cut off again.
            NotConfirmed: a sync failed. Nothing is accepted from then on.
        """
        if self._broken:
            raise NotDurable(self.refusal)
        try:
            keyed = self.begin_keys(group)
            self._write_and_sync(group)
            count(group, self.counters)
            # Not before: a key must not be known whose payloads a power cut can still take. Another
            # process may answer for it at once, so that they are counted by then.
            self.commit_keys(keyed)
        except NotDurable:
            if self.keys is not None:
                self.keys.abandon()
            self._write_failed = True
            self._check_disk()
            raise
        except Exception as error:
            self._stop_accepting(error)
            for future in group:
                for run in future.runs:
                    _file(run.segment).cut_back()
            raise NotConfirmed(self.refusal) from error
        self.counters.add(Field.COMMITS)
        self.counters.add(Field.COMMITTED_COLLECTIONS, len(group))

    def seal(self, segment: Segment) -> None:
        """Seal a segment's file and call it ready. Blocks on the disk."""
        if self._broken:
            return
        try:
            # First, as a sealed file is not read for its keys after a crash.
            if self.keys is not None:
                self.keys.sync()
            _file(segment).seal(lines=segment.lines, size=segment.size)
        except Exception as error:  # noqa: BLE001 (any error is treated like a failed sync)
            self._stop_accepting(error)

    def drop(self, segment: Segment) -> None:
        """Remove a segment without lines, and its file if there is one."""
        if self._broken:
            return
        try:
            self.directory.finish(segment)
        except OSError:
            log.exception("an empty segment stays", extra={"segment": segment.name})

    def finish(self, job: Job, *, stored: int, dead: int) -> None:
        """Count what became of a job's lines and remove them. Blocks on the disk.

        Raises:
            OSError: they cannot be removed; nothing is counted.
            Abandoned: nothing of it is confirmed, but its file may hold some; it stays.
        """
        if self._broken and not job.segment.lines:
            raise Abandoned("a sync has failed; what is in its file is known after the next start")
        super().finish(job, stored=stored, dead=dead)

    def check(self) -> None:
        """See what the other processes hold of the budget, and whether the disk takes anything."""
        self._check_disk()
        # Ours first: rather too much elsewhere, for a second, than too little.
        ours = self.counters[Field.HELD_BYTES]
        with contextlib.suppress(OSError):
            held = self.spool.totals()[Field.HELD_BYTES]
            self._held_elsewhere = max(0, held - ours)

    def _check_disk(self) -> None:
        if not self._broken and self.open():
            self.refusal = self._shortage(self.directory)

    def _write_and_sync(self, group: Sequence[DurabilityFuture]) -> None:
        runs: dict[Segment, list[tuple[int, bytes]]] = {}
        records: dict[Segment, dict[int, bytes]] = {}
        for future in group:
            for run in future.runs:
                runs.setdefault(run.segment, []).append((run.first_line, run.lines))
            if future.claim is not None:
                for run, record in zip(future.runs, future.claim.packed, strict=True):
                    records.setdefault(run.segment, {})[run.first_line] = record
        try:
            for segment, lines in runs.items():
                file = _file(segment)
                if segment in records:
                    file.append(segment.header, lines, records[segment])
                else:
                    file.append(segment.header, list(join(lines)))
        except OSError as error:
            reason = f"the spool took no more: {error.strerror}"
            about = {"reason": reason, "collections": len(group)}
            log.error("commit failed", extra=about)  # noqa: TRY400 (the reason says it all)
            for segment in runs:
                segment.write_failed = True
                _file(segment).roll_back()
            raise NotDurable(reason) from error
        self._sync([_file(segment) for segment in runs])

    def _sync(self, files: list[SegmentFile]) -> None:
        """Sync files one by one while they are few, else the whole file system they are on."""
        if self._sync_all is None or len(files) <= self._few:
            for file in files:
                file.sync()
        else:
            self._sync_all()
            for file in files:
                file.synced()

    def _stop_accepting(self, error: Exception) -> None:
        """Accept nothing from now on: after a failed sync it is unknown what is on the disk.

        The kernel drops failed pages, so a second fsync would succeed without them
        (https://wiki.postgresql.org/wiki/Fsync_Errors). The files stay for the next start.
        """
        self._broken = True
        self.counters[Field.SYNC_FAILED] = 1
        self.refusal = f"the spool failed: {error}; restart on a disk that works"
        log.critical("spool broken", extra={"reason": self.refusal}, exc_info=error)

    def _shortage(self, directory: ProcessSpool) -> str | None:
        """Return why not even a small collection can be written, or None."""
        disk = self.spool.disk
        try:
            if shortage := directory.room.shortage(SMALL_BYTES):
                return shortage
            if self._write_failed or disk.is_read_only(directory.path):
                directory.try_write()
        except OSError as error:
            return f"the spool cannot be written: {error.strerror}"
        self._write_failed = False
        return None


def _file(segment: Segment) -> SegmentFile:
    assert isinstance(segment.body, SegmentFile)
    return segment.body
