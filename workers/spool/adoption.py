"""What dead processes left behind: found, made whole, and fed to the queue beside new traffic.

Never reads a backlog into memory: a file is opened when the queue has room for it.
"""

import logging
import threading
from collections.abc import Callable

from workers.dispatch.jobs import Job
from workers.intake.intake import Intake
from workers.segments.segment import Header, Segment
from workers.spool.counters import Field, segment_number
from workers.spool.process_spool import ProcessSpool
from workers.spool.recovery import reconcile
from workers.spool.segment_file import OPEN, SegmentFile
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
        self._lock = threading.Lock()

    @property
    def process_spools(self) -> list[ProcessSpool]:
        """The adopted homes that are not finished yet."""
        with self._lock:
            return list(self._process_spools)

    def look(self, *, stopping: Callable[[], bool]) -> None:
        """Adopt what nobody owns, up to `MAX_HOMES`; the others keep their place.

        Blocks on the disk; stops between two homes when asked to.
        """
        if len(self.process_spools) >= MAX_ADOPTED:
            return
        for process_spool in self._spool.adopt_orphans():
            try:
                self._take_over(process_spool)
            except Exception:
                log.exception(
                    "a home could not be adopted", extra={"home": process_spool.path.name}
                )
                process_spool.close()
                continue
            with self._lock:
                self._process_spools.append(process_spool)
            if stopping() or len(self.process_spools) >= MAX_ADOPTED:
                return

    def feed(self) -> None:
        """Offer jobs, oldest first, until the queue wants no more; retire homes that are done."""
        waiting = [process_spool for process_spool in self.process_spools if process_spool.backlog]
        while waiting and self._intake.wants_adopted():
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
            if process_spool.empty:
                self._spool.retire(process_spool)
                with self._lock:
                    self._process_spools.remove(process_spool)
                log.info("adopted home finished", extra={"home": process_spool.path.name})

    def close(self) -> None:
        """Give up the homes that are left; another process, or the next start, adopts them."""
        for process_spool in self.process_spools:
            process_spool.close()

    def _take_over(self, process_spool: ProcessSpool) -> None:
        found, damaged, held = 0, False, 0
        for file in process_spool.segment_files():
            try:
                seal = None if file.path.suffix == OPEN else file.read_seal()
                if seal is None:
                    survey = file.recover()
                    damaged |= survey.damaged
                    if not survey.lines and not survey.damaged:
                        continue
                    seal = file.read_seal() or (survey.lines, survey.size)
            except OSError:
                # It stays where it is; a home with a file in it is never removed.
                damaged = True
                log.critical("a segment cannot be read", extra=_about(file), exc_info=True)
                continue
            found, held = found + seal[0], held + seal[1]
            process_spool.backlog.append(file)
        numbers = frozenset(segment_number(file.path.stem) for file in process_spool.backlog)
        lost = reconcile(process_spool.counters, found=found, numbers=numbers, damaged=damaged)
        process_spool.counters[Field.HELD_BYTES] = held
        process_spool.reset_gauges()
        process_spool.publish_oldest()
        about = {
            "home": process_spool.path.name,
            "payloads": found,
            "segments": len(process_spool.backlog),
        }
        log.info("adopted a home", extra=about)
        if lost:
            log.error("payloads lost with their process", extra={**about, "lost": lost})

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


def _about(file: SegmentFile) -> dict[str, str]:
    return {"segment": file.path.stem, "home": file.path.parent.name}


def _load(file: SegmentFile) -> Segment:
    """Make the sealed segment of a recovered file; without a key where its header is unreadable."""
    seal, header = file.read_seal(), file.read_header()
    if seal is None or header is None:
        survey = file.survey()
        seal = seal or (survey.lines, survey.size)
    unreadable = Header(name=file.path.stem, stream="", bucket="", key="", compression="none")
    segment = Segment(header or unreadable, file)
    segment.lines, segment.size = seal
    segment.held_bytes = segment.size
    segment.sealed = True
    segment.frozen.set()
    return segment
