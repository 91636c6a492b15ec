"""What there is to see of a service: in the spool of a machine, or in the queue of many."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.figures.figures import ProcessFigures, StoredFigures
from workers.figures.history import History, Moment
from workers.figures.published import newest, read_processes
from workers.figures.queued import read_figures
from workers.overview.kept import Kept, dead_letters, kept_in_queue, quarantined
from workers.settings.settings import Settings
from workers.spool.counters import Totals
from workers.spool.spool import Spool

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


def see_spool(spool: Spool, settings: Settings) -> Seen:
    """Look into a spool, with or without a running process. Blocks on the disk."""
    processes = read_processes(spool.root)
    return Seen(
        totals=spool.totals(),
        processes=processes,
        objects=newest([stored for each in processes for stored in each.objects]),
        moments=History(spool.root).read(),
        dead_letters=dead_letters(spool),
        quarantine=quarantined(spool),
        max_bytes=settings.spool_max_bytes if settings.durability == "disk" else None,
    )


def see_queue(server: "RedisServer", *, totals: Callable[[], Totals]) -> Seen:
    """Look into a queue, where all machines show themselves. Blocks on the network.

    Raises:
        QueueError: the queue does not answer.
    """
    found = read_figures(server)
    return Seen(
        totals=totals(),
        processes=found.processes,
        objects=found.objects,
        moments=found.moments,
        dead_letters=kept_in_queue(server),
        quarantine=Kept(count=0, newest=[]),
        max_bytes=found.max_bytes,
        ready=found.ready,
    )
