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
from workers.spool.process_spool import Home
from workers.spool.recovery import reconcile
from workers.spool.segment_file import OPEN, SpoolFile
from workers.spool.spool import Spool

log = logging.getLogger(__name__)

LOOK_SECONDS = 30.0
# Each costs a file descriptor while it is held.
MAX_HOMES = 64


class Adoption:
    """The homes of dead processes that are this process's now."""

    def __init__(self, spool: Spool, intake: Intake) -> None:
        self._spool = spool
        self._intake = intake
        self._homes: list[Home] = []
        self._lock = threading.Lock()

    @property
    def homes(self) -> list[Home]:
        """The adopted homes that are not finished yet."""
        with self._lock:
            return list(self._homes)

    def look(self, *, stopping: Callable[[], bool]) -> None:
        """Adopt what nobody owns, up to `MAX_HOMES`; the others keep their place.

        Blocks on the disk; stops between two homes when asked to.
        """
        if len(self.homes) >= MAX_HOMES:
            return
        for home in self._spool.adopt_homes():
            try:
                self._take_over(home)
            except Exception:
                log.exception("a home could not be adopted", extra={"home": home.path.name})
                home.close()
                continue
            with self._lock:
                self._homes.append(home)
            if stopping() or len(self.homes) >= MAX_HOMES:
                return

    def feed(self) -> None:
        """Offer jobs, oldest first, until the queue wants no more; retire homes that are done."""
        waiting = [home for home in self.homes if home.backlog]
        while waiting and self._intake.wants_adopted():
            home = min(waiting, key=lambda home: home.backlog[0].path.name)
            try:
                if not self._offer_next(home):
                    break
            except OSError:
                # Tried again at the next round; the other homes need not wait for it.
                log.exception("cannot read a segment", extra={"home": home.path.name})
                waiting.remove(home)
            waiting = [home for home in waiting if home.backlog]
        for home in self.homes:
            if home.empty:
                self._spool.retire(home)
                with self._lock:
                    self._homes.remove(home)
                log.info("adopted home finished", extra={"home": home.path.name})

    def close(self) -> None:
        """Give up the homes that are left; another process, or the next start, adopts them."""
        for home in self.homes:
            home.close()

    def _take_over(self, home: Home) -> None:
        found, damaged, held = 0, False, 0
        for file in home.segment_files():
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
            home.backlog.append(file)
        numbers = frozenset(segment_number(file.path.stem) for file in home.backlog)
        lost = reconcile(home.board, found=found, numbers=numbers, damaged=damaged)
        home.board[Field.HELD_BYTES] = held
        home.still_gauges()
        home.publish_oldest()
        about = {"home": home.path.name, "payloads": found, "segments": len(home.backlog)}
        log.info("adopted a home", extra=about)
        if lost:
            log.error("payloads lost with their process", extra={**about, "lost": lost})

    def _offer_next(self, home: Home) -> bool:
        """Offer the oldest file of a home's backlog. False when the queue had no room after all."""
        segment = _load(home.backlog[0])
        home.hold(segment)
        if not segment.header.key:
            self._spool.quarantine(home.backlog[0], reason="its header cannot be read")
            home.finish(segment, dead=segment.lines)
        elif not self._intake.offer(Job(segment, home)):
            home.release(segment)
            return False
        home.advance()
        return True


def _about(file: SpoolFile) -> dict[str, str]:
    return {"segment": file.path.stem, "home": file.path.parent.name}


def _load(file: SpoolFile) -> Segment:
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
