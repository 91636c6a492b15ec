"""A server that dies, hangs, is full, is a replica, or is configured so that it loses payloads."""

import logging
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.integration.queue.conftest import MakeMachine
from tests.integration.queue.machine import Machine, lines_of
from tests.support import wait_until
from tests.support.processes import free_port
from tests.support.redis.fixtures import WAITAOF
from tests.support.redis.server import RedisProcess, program_of
from tests.support.tools import needed
from workers.errors import NotConfirmed, NotDurable, QueueUnavailable
from workers.keys.claim import Claim, Replay
from workers.queue import redis_client

Make = Callable[..., Machine]
BODY = sha256(b"{}").digest()


@pytest.fixture
def on() -> Iterator[Make]:
    """Make processes on any server."""
    made: list[Machine] = []

    def make(server: RedisProcess, **options: Any) -> Machine:
        made.append(Machine(server, **options))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for long for a server that does not answer."""
    monkeypatch.setattr(redis_client, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(redis_client, "CONNECT_SECONDS", 0.3)


def test_a_killed_server_has_what_was_answered(own_redis: RedisProcess, on: Make) -> None:
    """While it is away nothing is kept; when it is back all that was answered is there."""
    web = on(own_redis)
    segment = web.open()
    assert web.refused((segment, b'{"n":1}\n')) is None
    own_redis.kill()
    refused = web.refused((segment, b'{"n":2}\n'))
    assert isinstance(refused, (NotDurable, NotConfirmed))
    web.store.check()
    assert web.store.refusal
    with pytest.raises(QueueUnavailable):
        web.ledger()
    own_redis.start()
    web.store.check()
    assert not web.store.refusal
    assert web.refused((web.open(), b'{"n":3}\n')) is None
    web.seal(segment)
    [job] = web.take()
    assert lines_of(job).startswith(b'{"n":1}\n')


def test_nothing_is_kept_where_nothing_was_sent(own_redis: RedisProcess, on: Make) -> None:
    """A server that cannot be reached was not asked: the answer says that nothing is kept."""
    web = on(own_redis)
    own_redis.kill()
    web.server.forget()
    assert isinstance(web.refused((web.open(), b"{}\n")), NotDurable)


@pytest.mark.usefixtures("brief")
def test_a_server_that_stands_still_is_not_waited_for(own_redis: RedisProcess, on: Make) -> None:
    """The answer is that it is unknown; what arrives late is in the ledger, once."""
    web = on(own_redis)
    segment = web.open()
    assert web.refused((segment, b'{"n":1}\n')) is None
    own_redis.pause()
    assert isinstance(web.refused((segment, b'{"n":2}\n')), NotConfirmed)
    assert segment.write_failed
    own_redis.go_on()

    def accepted_both() -> bool:
        web.store.check()
        return web.store.refusal is None and web.ledger()[0] == 2

    wait_until(accepted_both, timeout=10, what="the append that arrived late")
    web.seal(segment)
    [job] = web.take()
    assert lines_of(job) == b'{"n":1}\n{"n":2}\n'


@pytest.mark.usefixtures("brief")
def test_what_an_append_opens_late_is_sealed(own_redis: RedisProcess, on: Make) -> None:
    """A segment that exists only by an append without an answer does not stay open."""
    web = on(own_redis)
    assert web.refused((web.open("other"), b"{}\n")) is None
    segment = web.open()
    own_redis.pause()
    assert isinstance(web.refused((segment, b"{}\n")), NotConfirmed)
    web.committer.seal(segment, drop=True)
    web.committer.step()
    own_redis.go_on()
    wait_until(lambda: _accepted(web) == 2, timeout=10, what="the append")
    web.store._sweep_at = 0.0
    web.store.check()
    [job] = web.take()
    assert lines_of(job) == b"{}\n"


def _accepted(web: Machine) -> int:
    try:
        return web.ledger()[0]
    except QueueUnavailable:
        return -1


def test_a_server_that_evicts_is_refused(
    machine: MakeMachine, shared_redis: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """With such a policy it would throw payloads away; once it is mended all goes on."""
    web = machine()
    shared_redis.client().config_set("maxmemory-policy", "allkeys-lru")
    try:
        web.store._health._config_at = 0.0
        web.store.check()
        assert "allkeys-lru" in str(web.store.refusal)
        assert any(record.levelno == logging.ERROR for record in caplog.records)
    finally:
        shared_redis.client().config_set("maxmemory-policy", "noeviction")
    web.store._health._config_at = 0.0
    web.store.check()
    assert web.store.refusal is None


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--appendonly", "no"), "appendonly no"), (("--appendfsync", "everysec"), "everysec")],
)
def test_a_weaker_server_is_told_of(
    tmp_path: Path,
    on: Make,
    caplog: pytest.LogCaptureFixture,
    options: tuple[str, ...],
    said: str,
) -> None:
    """What it may lose is in the log, once; it is used all the same."""
    program = needed(program_of(), "redis-server")
    with RedisProcess(program, tmp_path / "redis", options=options) as server:
        web = on(server)
        web.store.check()
        assert web.refused((web.open(), b"{}\n")) is None
    assert [said in str(getattr(one, "reason", "")) for one in caplog.records].count(True) == 1


def test_a_configuration_that_may_not_be_read(
    shared_redis: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """Managed servers forbid CONFIG: the promise is said to be unverified, and all works."""
    client = shared_redis.client()
    client.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-config")
    web = Machine(shared_redis, user="app:pw@")
    try:
        assert web.store.refusal is None
        assert "cannot be read" in str(web.store.doubt)
        assert web.refused((web.open(), b"{}\n")) is None
        assert any("not verified" in record.message for record in caplog.records)
    finally:
        web.store.close()
        client.execute_command("ACL", "DELUSER", "app")


def test_a_replica_takes_nothing(tmp_path: Path, own_redis: RedisProcess, on: Make) -> None:
    """After a failover the old primary may be a replica: it refuses, and nothing is kept."""
    program = needed(program_of(), "redis-server")
    options = ("--replicaof", "127.0.0.1", str(own_redis.port))
    with RedisProcess(program, tmp_path / "replica", options=options) as replica:
        web = on(replica)
        refused = web.refused((web.open(), b"{}\n"))
        assert isinstance(refused, NotDurable)
        assert "READONLY" in str(refused) or "replica" in str(refused)


@pytest.mark.parametrize("least", [(6, 2), WAITAOF])
def test_replicas_confirm(
    tmp_path: Path, on: Make, monkeypatch: pytest.MonkeyPatch, least: tuple[int, int]
) -> None:
    """A 202 waits for the replica; with too few it is said that it is unknown."""
    monkeypatch.setattr(redis_client, "ANSWER_SECONDS", 1.0)
    program = needed(program_of(least), f"redis-server {least[0]}.{least[1]} or valkey-server")
    with RedisProcess(program, tmp_path / "primary") as primary:
        options = ("--replicaof", "127.0.0.1", str(primary.port))
        with RedisProcess(program, tmp_path / "replica", options=options) as replica:
            web = on(primary, replicas=1)
            client = primary.client()
            wait_until(
                lambda: (
                    client.info("replication")["connected_slaves"] == 1
                    and client.info("replication")["slave0"]["state"] == "online"
                ),
                timeout=30,
                what="the replica",
            )
            wait_until(
                lambda: web.refused((web.open(), b"{}\n")) is None,
                timeout=20,
                what="a confirmation",
            )
            replica.pause()
            refused = web.refused((web.open(), b"{}\n"))
            assert isinstance(refused, NotConfirmed)
            assert "replicas" in str(refused)


def test_a_cluster_s_one_shard_serves(tmp_path: Path) -> None:
    """In a cluster any node names the shard of the service's hash tag; keys are there too."""
    program = needed(program_of(), "redis-server")
    options = ("--cluster-enabled", "yes")
    # The nodes of a cluster talk on a port that is 10,000 further, and may be no client's either.
    port = next(port for port in iter(free_port, 0) if port < 22_000)
    with RedisProcess(program, tmp_path / "node", options=options, port=port) as node:
        slots = [str(slot) for slot in range(16384)]
        node.client().execute_command("CLUSTER", "ADDSLOTS", *slots)
        state = node.client().execute_command
        wait_until(
            lambda: "cluster_state:ok" in str(state("CLUSTER", "INFO")),
            timeout=20,
            what="the cluster",
        )
        web = Machine(node, query="?cluster=1")
        # The first node that it names is away.
        other = Machine(node, user="127.0.0.1:1,", query="?cluster=1")
        try:
            assert web.refused((web.open("one"), b"{}\n"), (web.open("two"), b"{}\n")) is None
            claim = web.keys.claim(b"{key}", BODY)
            assert isinstance(claim, Claim)
            segment = web.open("three")
            assert web.append((segment, b"{}\n"), claim=claim).exception is None
            assert isinstance(other.keys.claim(b"{key}", BODY), Replay)
            web.seal(segment)
            other.finish(*other.take())
            assert other.ledger() == (3, 1, 2, 0)
        finally:
            web.store.close()
            other.store.close()
