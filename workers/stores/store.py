"""The seam: what the pipeline needs of a place where segments are until S3 has them.

The intake creates segments and asks for room, the committer appends and seals, workers finish. The
disk and the process's memory are the first two such places; nothing outside the store, and the one
place that chooses it, knows which it is.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from workers.segments.future import DurabilityFuture
from workers.segments.segment import Header, Segment
from workers.stores.found import Found

if TYPE_CHECKING:
    from workers.dispatch.jobs import Job, Parked
    from workers.spool.counters import Counters, Totals


class ProcessCounters(Protocol):
    """The counters of this process, beside those of its machine's others. Blocks briefly."""

    counters: "Counters"

    def totals(self) -> "Totals":
        """Return the sums of the machine's processes."""
        ...

    def close(self) -> None:
        """Leave this process's counts to the machine."""
        ...


class Store(Protocol):
    """A place for segments. Only `create`, `has_room` and `find` are called under a lock."""

    # Why a small collection would not be kept now, or None.
    refusal: str | None

    @property
    def max_bytes(self) -> int:
        """The byte budget: what all segments may hold together."""
        ...

    # Those of this process.
    counters: "Counters"
    # Whether what is sealed is any process's to upload, and not this one's alone.
    is_shared: bool

    # Bytes of lines that no segment exceeds; None where a single larger payload may.
    segment_bytes: int | None

    @property
    def doubt(self) -> str | None:
        """What may weaken the promise of what is appended, or None."""
        ...

    @property
    def own(self) -> object:
        """The place of this process's own jobs; see `Job.place`."""
        ...

    def create(self, header: Header) -> Segment:
        """Make a segment and hold it until it is finished. Does not block."""
        ...

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes fit into the byte budget. Does not block."""
        ...

    def append(self, group: Sequence[DurabilityFuture]) -> None:
        """Make a group of collections durable and count them, all or none; blocks.

        Raises:
            NotDurable: none of it is kept.
            NotConfirmed: whether any of it is kept is unknown.
        """
        ...

    def seal(self, segment: Segment) -> None:
        """Make a segment's lines final. Blocks; does not raise."""
        ...

    def job(self, segment: Segment) -> "Job | None":
        """Make the job of a segment that nothing more comes to. Does not block.

        None where the store is shared: a `JobSource` has it, here or elsewhere.
        """
        ...

    def drop(self, segment: Segment) -> None:
        """Remove a sealed segment without lines. Blocks; does not raise."""
        ...

    def finish(self, job: "Job", *, stored: int, dead: int) -> None:
        """Count what became of a job's lines and remove them, in one idempotent step. Blocks.

        Raises:
            OSError: they cannot be removed; nothing is counted, and it may be tried again.
        """
        ...

    def park(self, job: "Job", reason: str) -> "Parked":
        """Return what is kept in memory of a job that cannot go now. Does not block."""
        ...

    def load(self, parked: "Parked") -> "Job | None":
        """Make a parked job whole again; None where it is damaged, and counted dead. Blocks.

        Raises:
            OSError: its lines cannot be read now.
        """
        ...

    def keep_dead(self, job: "Job", reason: str) -> None:
        """Keep a job's lines as a dead letter; its `finish` has to follow. Blocks.

        Raises:
            OSError: they cannot be kept; nothing has changed.
        """
        ...

    def quarantine(self, segment: Segment, reason: str) -> None:
        """Keep a damaged segment as it is, for an operator to look at. Blocks.

        Raises:
            OSError: it cannot be kept.
        """
        ...

    def find(self, name: str) -> Segment | None:
        """Return the segment `name` if this process has it at hand. Does not block."""
        ...

    def look(self, name: str) -> Found | None:
        """Say what became of the segment `name`, None where the store knows nothing. Blocks."""
        ...

    def unfinished(self) -> list[Segment]:
        """Return the segments that this process has at hand, oldest first."""
        ...

    def check(self) -> None:
        """Find out again why a small collection would be refused. Blocks."""
        ...

    def persist(self) -> None:
        """At a stop: see that what is not stored outlives the process. Blocks; does not raise."""
        ...

    def close(self) -> None:
        """At the end: give up what this process holds, for others to take. Blocks."""
        ...

    def totals(self) -> "Totals":
        """Return the sums of the whole service. Blocks."""
        ...
