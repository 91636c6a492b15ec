"""Opens the queue that `QUEUE_URL` names: the one module of this package that others import."""

from workers.queue.leases import Leases
from workers.queue.redis_client import RedisServer
from workers.queue.redis_health import try_server
from workers.queue.redis_jobs import RedisJobs
from workers.queue.redis_reading import find_segment, read_ledger
from workers.queue.redis_store import RedisStore
from workers.queue.redis_watermark import RedisProgress
from workers.settings.queue import read_redis_url
from workers.settings.settings import Settings
from workers.spool.counters import Counters, Totals
from workers.stores.committer import Committer
from workers.stores.store import ProcessCounters

__all__ = [
    "find_segment",
    "open_progress",
    "open_queue",
    "open_server",
    "read_totals",
    "try_server",
]


def open_server(settings: Settings) -> RedisServer:
    """Return the server that `QUEUE_URL` names; nothing is connected yet."""
    assert settings.queue_url is not None
    return RedisServer(read_redis_url(settings.queue_url), replicas=settings.redis_wait_replicas)


def read_totals(server: RedisServer) -> Totals:
    """Return the service's ledger. Blocks on the network.

    Raises:
        QueueUnavailable: the server does not answer.
    """
    return Totals([read_ledger(server, Counters.anonymous().snapshot())])


def open_queue(
    settings: Settings, counting: ProcessCounters
) -> tuple[RedisStore, Committer, RedisJobs]:
    """Make a process's store, committer and job source on the queue. Blocks on the network."""
    server, leases = open_server(settings), Leases()
    store = RedisStore(
        server,
        counting=counting,
        leases=leases,
        max_bytes=settings.queue_max_bytes,
        receipt_seconds=settings.receipt_seconds,
        max_keys=settings.idempotency_max_keys,
        key_seconds=settings.idempotency_seconds,
    )
    # Two for each upload thread: the next is there when one is done.
    jobs = RedisJobs(server, leases=leases, place=store, most=2 * settings.max_workers)
    return store, Committer(store), jobs


def open_progress(settings: Settings) -> RedisProgress:
    """Make a process's view of how far the queue is; nothing is connected yet."""
    return RedisProgress(open_server(settings), seconds=settings.watermark_seconds)
