"""Makes what a dead process left whole again: its segment files, and counters that agree with them.

Only what was read and verified is counted stored, or removed. Knows no queue and no S3.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from workers.spool import frames
from workers.spool.counters import Counters, Field, segment_number
from workers.spool.disk import READ_BYTES, Disk
from workers.spool.process_spool import SCRATCH, ProcessSpool
from workers.spool.segment_file import OPEN, READY, SegmentFile
from workers.spool.spool import Spool
from workers.spool.survey import NO_LINES, Survey

log = logging.getLogger(__name__)

_Found = tuple[SegmentFile, Survey]


class Recovery:
    """The recovery of one adopted process spool. Methods block on the disk; one caller at a time.

    `log_keys` writes down the key records of a file, whose lines are synced, before it is `.ready`.

    A file that can be read is frozen and goes to the backlog. One that cannot be read now stays,
    pending, and is tried again by `retry`. One of an unknown format stays as it is. Payloads that
    are pending and in no file are accounted for once there is no such file left.
    """

    def __init__(
        self, process_spool: ProcessSpool, *, spool: Spool, log_keys: Callable[[SegmentFile], None]
    ) -> None:
        self._process_spool = process_spool
        self._counters = process_spool.counters
        self._spool = spool
        self._log_keys = log_keys
        self._boot = spool.disk.boot_id()
        # Within the boot of the process nothing that it synced, or counted, can have gone.
        self._same_boot = self._counters.boot == self._boot != 0
        self._missing = 0
        self._damaged = False

    def run(self) -> None:
        """Recover all that can be. Where every file has an unknown format nothing is touched."""
        files = self._process_spool.segment_files()
        found, unread = self._inspect(files)
        if files and len(self._process_spool.unknown) == len(files):
            return
        numbers = frozenset(segment_number(file.path.stem) for file in files)
        self._counters.redo(still_there=numbers)
        self._counters[Field.HELD_BYTES] = 0
        self._missing = self._counters.pending
        self._take_all(found, unread)
        self._process_spool.reset_gauges()
        self._process_spool.publish_oldest()
        about = {
            "home": self._process_spool.path.name,
            "payloads": sum(survey.lines for _, survey in found),
            "segments": len(self._process_spool.backlog),
        }
        log.info("adopted a home", extra=about)

    def retry(self) -> None:
        """Try the files again that could not be read."""
        if self.unfinished:
            self._take_all(*self._inspect(self._process_spool.unread))

    @property
    def unfinished(self) -> bool:
        """Whether there are files that could not be read yet."""
        return bool(self._process_spool.unread)

    def _inspect(self, files: list[SegmentFile]) -> tuple[list[_Found], list[SegmentFile]]:
        """Return the files that can be read, with what is in them, and those that cannot now."""
        found, unread = [], []
        for file in files:
            try:
                if file.path.suffix == OPEN and self._counters[Field.SYNC_FAILED]:
                    renew(file.path, disk=self._spool.disk)
                found.append((file, file.inspect()))
            except frames.UnknownFormat:
                log.critical("a segment has an unknown format", extra=_about(file), exc_info=True)
                self._process_spool.unknown.append(file)
            except OSError:
                log.critical("a segment cannot be read", extra=_about(file), exc_info=True)
                unread.append(file)
        return found, unread

    def _take_all(self, found: list[_Found], unread: list[SegmentFile]) -> None:
        self._missing -= sum(survey.lines for _, survey in found)
        if self._missing < 0:
            # Synced, and not counted yet when the process died.
            self._counters.add(Field.ACCEPTED, -self._missing)
            self._missing = 0
        left = 0
        for file, survey in found:
            try:
                self._take(file, survey)
            except OSError:
                log.critical("a segment cannot be read", extra=_about(file), exc_info=True)
                # It may have been a sync.
                self._counters[Field.SYNC_FAILED] = 1
                left += survey.lines
                unread.append(file)
        # Only now: the files after one that stays are not short of its lines.
        self._missing += left
        if not any(file.path.suffix == OPEN for file in (*unread, *self._process_spool.unknown)):
            self._counters[Field.UNLOGGED_KEYS] = 0
        if not unread and not self._process_spool.unknown:
            self._settle()
        # Last: with nothing unread, and no backlog, the directory is retired.
        self._process_spool.unread = unread

    def _take(self, file: SegmentFile, survey: Survey) -> None:
        """Freeze one file and put it into the backlog, or out of the way if it holds nothing."""
        damaged = self._is_damaged(file, survey)
        if survey.lines:
            # All that can be read of a damaged file is uploaded, so all its keys are logged.
            has_keys = survey.has_keys or damaged
            log_keys = partial(self._log_keys, file) if has_keys else _nothing
            file.recover(replace(survey, damaged=damaged), before_ready=log_keys)
            self._counters.add(Field.HELD_BYTES, file.held_bytes(survey.size))
            self._process_spool.add_backlog(file)
        elif damaged:
            self._spool.set_aside(file, reason=NO_LINES)
            log.error("segment damaged", extra=_about(file))
        else:
            file.discard()
        self._damaged |= damaged

    def _is_damaged(self, file: SegmentFile, survey: Survey) -> bool:
        """Whether bytes of a file have gone, or changed, that a kill or a power cut cannot reach.

        A kill leaves the beginning of a frame at most; a power cut any part of the last group. A
        frozen file has lines, and a seal unless the disk was full: what is missing of one without
        a seal, only the counters can tell.
        """
        if survey.damaged:
            return True
        if file.path.suffix == READY:
            return not survey.sealed and not survey.lines
        if self._same_boot:
            cut_off = survey.tail == "short" or (survey.end > 0 and not survey.lines)
            return survey.tail == "torn" or (cut_off and self._missing > 0)
        # Without a boot to compare with, a first group that is not just cut off may be anything.
        return not survey.lines and survey.tail == "torn" and not self._counters.boot

    def _settle(self) -> None:
        """Account for the payloads that are pending and in no file."""
        durable = self._counters[Field.DURABLE]
        lost = not durable or self._same_boot or self._damaged
        missing, self._missing = self._missing, 0
        reconcile(self._counters, missing=missing, lost=lost, boot=self._boot)
        about = {"home": self._process_spool.path.name, "payloads": missing}
        if missing and lost:
            log.error("payloads lost with their process", extra={**about, "lost": missing})
        elif missing:
            log.warning("a power cut took counters back", extra=about)


def renew(path: Path, *, disk: Disk) -> None:
    """Put a synced copy in the place of a file of which a sync has failed. Blocks on the disk.

    The kernel holds pages for written that it failed to write, and no other sync writes them
    (https://wiki.postgresql.org/wiki/Fsync_Errors). What can be read now is what counts from here
    on, and after a power cut, too.

    Raises:
        OSError: the file is as it was.
    """
    # A name that is removed with the directory, also where this fails on the way.
    copy = path.with_name(SCRATCH)
    disk.unlink(copy)
    made, size = disk.create(copy), 0
    try:
        with disk.open(path) as file:
            while data := file.read(READ_BYTES):
                size += disk.write_at(made, [data], size)
        disk.sync(made)
    finally:
        disk.close(made)
    disk.rename(copy, path)
    disk.sync_directory(path.parent)


def reconcile(counters: Counters, *, missing: int, lost: bool, boot: int) -> None:
    """Let counters agree with the files: `missing` payloads are pending, and in none of them.

    They are dead if they are certainly `lost`. After a power cut, which takes counters back, most
    of them were stored and counted before it; as that cannot be verified they are in no count.
    From then on the counters are exact within this `boot`, and all that is pending is in files.
    """
    if lost:
        counters.add(Field.DEAD, missing)
    else:
        counters.add(Field.ACCEPTED, -missing)
    counters[Field.DURABLE] = 1
    counters.boot = boot
    counters.flush()


def _nothing() -> None:
    """Do nothing."""


def _about(file: SegmentFile) -> dict[str, str]:
    return {"segment": file.path.stem, "home": file.path.parent.name}
