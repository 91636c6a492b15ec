"""What dead processes left behind: found, made whole, and fed to the queue beside new traffic.

Never reads a backlog into memory: a file is opened when the queue has room for it.
"""

import logging
import threading
from collections.abc import Callable

from workers.dispatch.jobs import Job
from workers.intake.intake import Intake
from workers.segments.segment import Header, Segment
from workers.spool.process_spool import ProcessSpool
from workers.spool.recovery import Recovery
from workers.spool.segment_file import SegmentFile
from workers.spool.spool import Spool

log = logging.getLogger(__name__)

LOOK_SECONDS = 30.0
# Each costs a file descriptor while it is held.
MAX_ADOPTED = 64


class Adoption:
    """The homes of dead processes that are this process's now."""

    def __init__(self, spool: Spool, intake: Intake) -> None:
        self._spool = spool
        self._intake = intake
        self._process_spools: list[ProcessSpool] = []
        self._recoveries: list[Recovery] = []
        # The files of an unknown format in directories that were left, by the directory's name.
        self._left: dict[str, list[SegmentFile]] = {}
        self._lock = threading.Lock()

    @property
    def process_spools(self) -> list[ProcessSpool]:
        """The adopted homes that are not finished yet."""
        with self._lock:
            return list(self._process_spools)

    def look(self, *, stopping: Callable[[], bool]) -> None:
        """Adopt what no process owns, up to `MAX_ADOPTED`; the others keep their place.

        Files that could not be read before are tried again. Blocks on the disk; stops between two
        directories when asked to.
        """
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
        recovery = Recovery(process_spool, spool=self._spool)
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

    def feed(self) -> None:
        """Offer jobs, oldest first, until the queue wants no more; retire homes that are done."""
        waiting = [process_spool for process_spool in self.process_spools if process_spool.backlog]
        while waiting and self._intake.wants_backlog():
            process_spool = min(
                waiting, key=lambda process_spool: process_spool.backlog[0].path.name
            )
            try:
                if not self._offer_next(process_spool):
                    break
            except OSError:
                # Tried again at the next round; the other homes need not wait for it.
                log.exception("cannot read a segment", extra={"home": process_spool.path.name})
                waiting.remove(process_spool)
            waiting = [process_spool for process_spool in waiting if process_spool.backlog]
        for process_spool in self.process_spools:
            if process_spool.empty or process_spool.stuck:
                self._finish(process_spool)

    def close(self) -> None:
        """Give up the homes that are left; another process, or the next start, adopts them."""
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

    def _offer_next(self, process_spool: ProcessSpool) -> bool:
        """Offer the oldest file of a home's backlog. False when the queue had no room after all."""
        segment = _load(process_spool.backlog[0])
        process_spool.hold(segment)
        if not segment.header.key:
            self._spool.quarantine(process_spool.backlog[0], reason="its header cannot be read")
            process_spool.finish(segment, dead=segment.lines)
        elif not self._intake.offer(Job(segment, process_spool)):
            process_spool.release(segment)
            return False
        process_spool.advance()
        return True


def _load(file: SegmentFile) -> Segment:
    """Make the sealed segment of a recovered file; without a key where its header is unreadable."""
    seal, header = file.read_seal(), file.read_header()
    if seal is None or header is None:
        survey = file.survey()
        seal = seal or (survey.lines, survey.size)
    unreadable = Header(name=file.path.stem, stream="", bucket="", key="", compression="none")
    segment = Segment(header or unreadable, file)
    segment.lines, segment.size = seal
    segment.held_bytes = file.held_bytes(segment.size)
    segment.sealed = True
    segment.frozen.set()
    return segment
