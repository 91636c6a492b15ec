"""What there is to see of a service: in the spool of a machine, or in the queue of many."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.figures.figures import ProcessFigures, StoredFigures
from workers.figures.history import History, Moment
from workers.figures.published import newest, read_processes
from workers.figures.queued import read_figures
from workers.overview.kept import Kept, KeptFiles, KeptInQueue
from workers.settings.settings import Settings
from workers.spool.counters import Totals
from workers.spool.spool import DEAD, QUARANTINE, Spool

if TYPE_CHECKING:
    from workers.queue.redis_client import RedisServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that is shown is made of this.

    `max_bytes` bounds what is held; it is None where each process has a bound of its own. `ready`
    are the segments in a queue that wait for a worker, None without a queue.
    """

    totals: Totals
    processes: list[ProcessFigures]
    objects: list[StoredFigures]
    moments: list[Moment]
    dead_letters: Kept
    quarantine: Kept
    max_bytes: int | None = None
    ready: int | None = None


class SpoolSight:
    """Looks into a spool, with or without a running process. Thread-safe."""

    def __init__(self, spool: Spool, settings: Settings) -> None:
        self._spool = spool
        self._max_bytes = settings.spool_max_bytes if settings.durability == "disk" else None
        self._dead_letters = KeptFiles(spool.root / DEAD, ".ndjson")
        self._quarantine = KeptFiles(spool.root / QUARANTINE, ".open", ".ready")

    def __call__(self) -> Seen:
        """Look now. Blocks on the disk."""
        processes = read_processes(self._spool.root)
        return Seen(
            totals=self._spool.totals(),
            processes=processes,
            objects=newest([stored for each in processes for stored in each.objects]),
            moments=History(self._spool.root).read(),
            dead_letters=self._dead_letters.look(),
            quarantine=self._quarantine.look(),
            max_bytes=self._max_bytes,
        )


class QueueSight:
    """Looks into a queue, where all machines show themselves. Thread-safe."""

    def __init__(self, server: "RedisServer", *, totals: Callable[[], Totals]) -> None:
        self._server = server
        self._totals = totals
        self._dead_letters = KeptInQueue(server)

    def __call__(self) -> Seen:
        """Look now. Blocks on the network.

        Raises:
            QueueError: the queue does not answer.
        """
        found = read_figures(self._server)
        return Seen(
            totals=self._totals(),
            processes=found.processes,
            objects=found.objects,
            moments=found.moments,
            dead_letters=self._dead_letters.look(),
            quarantine=Kept(count=0, newest=[]),
            max_bytes=found.max_bytes,
            ready=found.ready,
        )
