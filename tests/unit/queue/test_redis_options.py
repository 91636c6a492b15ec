"""What redis-py's connections are made with, for each kind of `QUEUE_URL`."""

from pathlib import Path
from typing import Any

import pytest
from redis import Connection, SSLConnection

from workers.queue.redis_connecting import make_client
from workers.settings.queue import read_redis_url


def connections(url: str) -> list[Any]:
    """Make the connections that a server is reached by, unconnected: Sentinel's first."""
    client = make_client(read_redis_url(url), prefix="p", connect_seconds=2.0, answer_seconds=5.0)
    pools = [client.connection_pool]
    if "sentinel" in url:
        manager = pools[0].sentinel_manager
        pools = [*(each.connection_pool for each in manager.sentinels), *pools]
    return [pool.make_connection() for pool in pools]


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
@pytest.mark.parametrize(
    ("rest", "count"), [("u:p@a:1/2", 1), ("u:p@a,b:2?sentinel=m", 3), ("u:p@a?name=n", 1)]
)
def test_each_kind_takes_its_options(scheme: str, rest: str, count: int, tmp_path: Path) -> None:
    """With TLS or without, of a server or of Sentinels: redis-py knows every option it is given."""
    authorities = tmp_path / "ca.pem"
    authorities.touch()
    trusted = f"{'&' if '?' in rest else '?'}ssl_ca_certs={authorities}"
    made = connections(f"{scheme}://{rest}{trusted if scheme == 'rediss' else ''}")
    assert len(made) == count
    for each in made:
        assert isinstance(each, SSLConnection) == (scheme == "rediss")
        assert isinstance(each, Connection)
        assert (each.username, each.password) == ("u", "p")
        assert (each.socket_connect_timeout, each.socket_timeout) == (2.0, 5.0)
        if isinstance(each, SSLConnection):
            assert each.ca_certs == str(authorities)
