"""Opens the queue on SQS: the one module of this package that others import."""

from workers.queue.leases import Leases
from workers.settings.settings import Settings
from workers.sqs.client import SqsQueue, connect_queue
from workers.sqs.committer import SqsCommitter
from workers.sqs.health import try_server
from workers.sqs.jobs import SqsJobs
from workers.sqs.store import InFlight, SqsStore
from workers.stores.found import Found
from workers.stores.store import ProcessCounters

__all__ = ["find_segment", "open_queue", "open_server", "try_server"]


def open_server(settings: Settings) -> SqsQueue:
    """Return the queue that `QUEUE_URL` names; nothing is connected yet."""
    return connect_queue(settings)


def find_segment(server: SqsQueue, name: str) -> Found | None:
    """Return None: a queue cannot be asked for one message."""
    del server, name
    return None


def open_queue(
    settings: Settings, counting: ProcessCounters
) -> tuple[SqsStore, SqsCommitter, SqsJobs]:
    """Make a process's store, committer and job source on the queue. Blocks on the network."""
    sqs, leases, in_flight = connect_queue(settings), Leases(), InFlight()
    store = SqsStore(
        sqs,
        counting=counting,
        in_flight=in_flight,
        max_bytes=settings.memory_max_bytes,
        parked=leases.park,
    )
    # Two for each upload thread: the next is there when one is done.
    most = 2 * settings.max_workers
    jobs = SqsJobs(sqs, leases=leases, in_flight=in_flight, place=store, most=most)
    committer = SqsCommitter(store, request_seconds=settings.request_seconds)
    return store, committer, jobs
