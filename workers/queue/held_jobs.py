"""Jobs of a queue as the feeder takes them: the part that is the same on every engine."""

from collections import deque
from collections.abc import Callable

from workers.dispatch.jobs import Job
from workers.segments.segment import Segment


class HeldJobs:
    """Segments that this process holds for a while, oldest first; most of a `JobSource`.

    `place` is that of every job, `most` how many segments are held at one time; `holds` says
    whether a segment is still this process's to upload.
    """

    def __init__(self, *, place: object, most: int, holds: Callable[[Segment], bool]) -> None:
        self._place = place
        self._most = most
        self._holds = holds
        self._waiting: deque[Segment] = deque()
        self._renew_at = 0.0

    @property
    def is_waiting(self) -> bool:
        """Whether a held segment waits for room in the job queue."""
        return bool(self._waiting)

    def next(self) -> Job | None:
        """Take out the segment that came first, of those that are still held."""
        while self._waiting:
            segment = self._waiting.popleft()
            if self._holds(segment):
                return Job(segment, self._place)
        return None

    def find(self, name: str) -> Segment | None:
        """Return None: the store says what is known of a segment."""
        del name
        return None

    @property
    def pending(self) -> int:
        """Return 0: what is not uploaded at a stop stays in the queue."""
        return 0

    def tidy(self) -> None:
        """Do nothing: what is finished is gone."""
