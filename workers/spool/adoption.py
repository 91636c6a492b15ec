"""What dead processes left behind: found, made whole, and handed out segment by segment.

Never reads a backlog into memory: a file is opened when the queue has room for it.
"""

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from workers.segments.segment import Segment
from workers.spool.frames import UnknownFormat
from workers.spool.process_spool import ProcessSpool, load_segment
from workers.spool.recovery import Recovery
from workers.spool.spool import Spool
from workers.spool.survey import NO_HEADER

if TYPE_CHECKING:
    from workers.spool.segment_file import SegmentFile

log = logging.getLogger(__name__)

LOOK_SECONDS = 30.0
# Each costs a file descriptor while it is held.
MAX_ADOPTED = 64


class Adoption:
    """The directories of dead processes that this process has adopted."""

    def __init__(
        self, spool: Spool, *, log_keys: Callable[["SegmentFile"], None] = lambda _: None
    ) -> None:
        self._spool = spool
        self._log_keys = log_keys
        # Those whose next file could not be read since the last look.
        self._failed: list[ProcessSpool] = []
        self._process_spools: list[ProcessSpool] = []
        self._recoveries: list[Recovery] = []
        # The files of an unknown format in directories that were left, by the directory's name.
        self._left: dict[str, list[SegmentFile]] = {}
        self._lock = threading.Lock()

    @property
    def process_spools(self) -> list[ProcessSpool]:
        """The adopted directories that are not finished yet."""
        with self._lock:
            return list(self._process_spools)

    def look(self, *, stopping: Callable[[], bool]) -> None:
        """Adopt what no process owns, up to `MAX_ADOPTED`; the others keep their place.

        Files that could not be read before are tried again. Blocks on the disk; stops between two
        directories when asked to.
        """
        self._failed = []
        self._recoveries = [one for one in self._recoveries if one.unfinished]
        for recovery in self._recoveries:
            recovery.retry()
        if self._is_full():
            return
        for process_spool in self._spool.adopt_orphans():
            self._take_over(process_spool)
            if stopping() or self._is_full():
                return

    def _is_full(self) -> bool:
        # One with nothing but unreadable files in it takes no other's place.
        going = [each for each in self.process_spools if each.backlog or not each.unread]
        return len(going) >= MAX_ADOPTED

    def _take_over(self, process_spool: ProcessSpool) -> None:
        name = process_spool.path.name
        if any(file.path.exists() for file in self._left.get(name, [])):
            process_spool.leave()
            return
        recovery = Recovery(process_spool, spool=self._spool, log_keys=self._log_keys)
        try:
            recovery.run()
        except Exception:
            log.exception("a home could not be adopted", extra={"home": name})
            process_spool.leave()
            return
        if process_spool.stuck:
            self._left[name] = process_spool.unknown
            process_spool.leave()
            return
        if recovery.unfinished:
            self._recoveries.append(recovery)
        with self._lock:
            self._process_spools.append(process_spool)

    @property
    def is_waiting(self) -> bool:
        """Whether there is a segment that can be read."""
        return any(each.backlog and each not in self._failed for each in self.process_spools)

    def next(self) -> tuple[Segment, ProcessSpool] | None:
        """Take out the oldest segment, and its directory; None where there is none. Blocks.

        A directory that cannot be read now is tried again after the next look; others need not
        wait for it.
        """
        while self.is_waiting:
            waiting = [each for each in self.process_spools if each.backlog]
            waiting = [each for each in waiting if each not in self._failed]
            oldest = min(waiting, key=lambda process_spool: process_spool.backlog[0].path.name)
            try:
                segment = self._take(oldest)
            except (OSError, UnknownFormat):
                log.exception("cannot read a segment", extra={"home": oldest.path.name})
                self._failed.append(oldest)
            else:
                if segment is not None:
                    return segment, oldest
        return None

    def retire_finished(self) -> None:
        """Retire directories in which nothing is left. Blocks on the disk."""
        for process_spool in self.process_spools:
            if process_spool.empty or process_spool.stuck:
                self._finish(process_spool)

    def close(self) -> None:
        """Give up the directories that are left; another process or the next start adopts them."""
        for process_spool in self.process_spools:
            process_spool.close()

    def _finish(self, process_spool: ProcessSpool) -> None:
        name = process_spool.path.name
        with self._lock:
            self._process_spools.remove(process_spool)
        if process_spool.stuck:
            self._left[name] = process_spool.unknown
            process_spool.close()
        else:
            self._spool.retire(process_spool)
            log.info("adopted home finished", extra={"home": name})

    def _take(self, process_spool: ProcessSpool) -> Segment | None:
        """Take the oldest file of a directory; None where it is put into quarantine."""
        file = process_spool.backlog[0]
        segment = load_segment(file)
        process_spool.hold(segment)
        readable = bool(segment.header.key)
        if not readable:
            self._spool.quarantine(file, reason=NO_HEADER)
            process_spool.finish(segment, dead=segment.lines)
        process_spool.advance()
        return segment if readable else None
