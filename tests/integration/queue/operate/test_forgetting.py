"""What one thread finds out of the connection does not end what another has under way."""

from concurrent.futures import ThreadPoolExecutor

from tests.support import wait_until
from tests.support.redis.server import RedisProcess
from workers.queue.redis_client import RedisServer
from workers.settings.queue import read_redis_url


def test_a_call_under_way_ends_by_itself(shared_redis: RedisProcess) -> None:
    """Another thread forgets the connections meanwhile; the answer comes all the same."""
    server, client = RedisServer(read_redis_url(shared_redis.url)), shared_redis.client()
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(server.call, "BLPOP", "list", 20)
        wait_until(
            lambda: client.info("clients")["blocked_clients"] == 1, timeout=20, what="the call"
        )
        server.forget()
        client.rpush("list", "x")
        assert answer.result(20) == [b"list", b"x"]
    server.forget()
