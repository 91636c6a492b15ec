"""Jobs that did not come in through this process: what dead ones left, or a shared queue has.

The feeder offers them to the bounded job queue in turn with this process's own.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from workers.dispatch.jobs import Job
from workers.errors import SpoolError
from workers.keys.keys import Keys
from workers.segments.segment import Segment
from workers.spool.adoption import LOOK_SECONDS, Adoption

log = logging.getLogger(__name__)


class JobSource(Protocol):
    """Where those jobs come from. `look` blocks; it has a thread of its own, `adopter`."""

    # Seconds between two looks.
    look_seconds: float

    def look(self, *, stopping: Callable[[], bool]) -> None:
        """Find more jobs, and keep hold of those that were found. Blocks; may raise."""
        ...

    @property
    def is_waiting(self) -> bool:
        """Whether `next` may have a job. Does not block."""
        ...

    def next(self) -> Job | None:
        """Take out the oldest job; None where there is none. May block on the store."""
        ...

    def find(self, name: str) -> Segment | None:
        """Return the segment `name` if it is at hand here. Does not block."""
        ...

    @property
    def pending(self) -> int:
        """How many payloads of other processes are this one's to upload now."""
        ...

    def tidy(self) -> None:
        """Remove what is finished. May block on the store."""
        ...

    def close(self) -> None:
        """At a stop: give up what is left, for others to take. May block on the store."""
        ...


class AdoptedJobs:
    """The jobs that dead processes left in the spool; see `Adoption`. Blocks on the disk."""

    look_seconds = LOOK_SECONDS

    def __init__(self, adoption: Adoption, *, keys: Keys | None) -> None:
        self._adoption = adoption
        self._keys = keys

    def look(self, *, stopping: Callable[[], bool]) -> None:
        """Adopt the directories that no process owns; before it, read the keys, once."""
        if self._keys is None:
            self._adoption.look(stopping=stopping)
            return
        try:
            self._keys.read()
        except (OSError, SpoolError):
            log.exception("the key logs cannot be read; trying again")
        self._adoption.look(stopping=stopping)
        self._keys.tidy()

    @property
    def is_waiting(self) -> bool:
        """Whether there is a segment that can be read."""
        return self._adoption.is_waiting

    def next(self) -> Job | None:
        """Take out the oldest segment that can be read."""
        found = self._adoption.next()
        return None if found is None else Job(*found)

    def find(self, name: str) -> Segment | None:
        """Return the adopted segment `name` if it is in memory."""
        held = (each.held(name) for each in self._adoption.process_spools)
        return next((segment for segment in held if segment is not None), None)

    @property
    def pending(self) -> int:
        """How many payloads of adopted directories are not stored yet."""
        return sum(each.counters.pending for each in self._adoption.process_spools)

    def tidy(self) -> None:
        """Retire the directories in which nothing is left."""
        self._adoption.retire_finished()

    def close(self) -> None:
        """Give up the directories that are left; another process or the next start adopts them."""
        self._adoption.close()
