"""The ledger of a queue, beside what the machine has counted before."""

from tests.support.redis.server import RedisProcess
from workers.queue.redis_client import RedisServer
from workers.queue.redis_reading import read_ledger
from workers.settings.queue import read_redis_url
from workers.spool.counters import CELLS, Totals


def test_a_new_queue_has_nothing_of_the_machine_s(shared_redis: RedisProcess) -> None:
    """What Redis has not counted yet is zero, in any mode that the machine ran in before."""
    server = RedisServer(read_redis_url(shared_redis.url))
    totals = Totals([read_ledger(server, [7] * CELLS)])
    server.forget()
    assert (totals.pending, totals.oldest_microseconds) == (0, 0)
    assert totals.cells.count(0) == 6
