"""Makes redis-py's client for each kind of `QUEUE_URL`: a server, Sentinels, a cluster."""

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry
from redis.sentinel import Sentinel

from workers.settings.queue import RedisUrl


def make_client(
    url: RedisUrl, *, prefix: str, connect_seconds: float, answer_seconds: float
) -> Any:
    """Return redis-py's client of a server. Only of a cluster the node is asked for at once."""
    options: dict[str, Any] = {
        "username": url.username,
        "password": url.password,
        "ssl": url.tls,
        # A connection without TLS knows no such option.
        **({"ssl_ca_certs": url.authorities} if url.tls else {}),
        "socket_connect_timeout": connect_seconds,
        "socket_timeout": answer_seconds,
        "socket_keepalive": True,
        # Mappings come as flat lists in every version of the server.
        "protocol": 2,
        # A lost append is sent again by the store, which knows what that means.
        "retry": Retry(NoBackoff(), 0),
    }
    if url.sentinel is not None:
        sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
            list(url.nodes), sentinel_kwargs=options
        )
        return sentinel.master_for(url.sentinel, db=url.database, **options)
    if url.cluster:
        known: list[Any] = [
            ClusterNode(host, port)  # type: ignore[no-untyped-call]
            for host, port in url.nodes
        ]
        cluster: Any = RedisCluster(startup_nodes=known, **options)
        node = cluster.get_node_from_key(f"{prefix}ledger")
        cluster.close()
        return redis.Redis(host=node.host, port=node.port, **options)
    [(host, port)] = url.nodes
    return redis.Redis(host=host, port=port, db=url.database, **options)
