"""A primary, a replica and a Sentinel that promotes the replica when the primary is lost."""

import contextlib
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

import redis

from tests.support import wait_until
from tests.support.processes import free_port
from tests.support.redis.server import RedisProcess
from tests.support.s3 import LOOPBACK

NAME = "queue"
DOWN_MILLISECONDS = 500
FAILOVER_SECONDS = 60.0


class Sentinel:
    """As a context manager it starts all three. The primary can be lost, with its directory."""

    def __init__(self, program: str, directory: Path) -> None:
        self.port = free_port()
        self._program = program
        self._directory = directory
        self._numbers = iter(range(1000))
        self._stack = contextlib.ExitStack()
        self.primary = self._server()
        self.replica = self._server("--replicaof", LOOPBACK, str(self.primary.port))

    @property
    def url(self) -> str:
        """The service's `QUEUE_URL`."""
        return f"redis://{LOOPBACK}:{self.port}?sentinel={NAME}"

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self._kill_servers)
            self.primary.start()
            self.replica.start()
            self._await_replica()
            stack.callback(self._start_sentinel())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def lose_primary(self) -> None:
        """Kill the primary, delete its directory, await the promotion, and add a new replica."""
        self.primary.kill()
        shutil.rmtree(self.primary.directory)
        wait_until(
            lambda: self._role(self.replica) == "master",
            timeout=FAILOVER_SECONDS,
            what="the replica's promotion",
        )
        self.primary = self.replica
        self.replica = self._server("--replicaof", LOOPBACK, str(self.primary.port))
        self.replica.start()
        self._await_replica()
        wait_until(self._is_known, timeout=FAILOVER_SECONDS, what="the new replica to be known")

    def _kill_servers(self) -> None:
        self.primary.kill()
        self.replica.kill()

    def _server(self, *options: str) -> RedisProcess:
        directory = self._directory / f"server-{next(self._numbers)}"
        return RedisProcess(self._program, directory, options=options)

    def _start_sentinel(self) -> Any:
        directory = self._directory / "sentinel"
        directory.mkdir(parents=True, exist_ok=True)
        configuration = directory / "sentinel.conf"
        configuration.write_text(
            f"port {self.port}\nbind {LOOPBACK}\ndir {directory}\n"
            f"sentinel monitor {NAME} {LOOPBACK} {self.primary.port} 1\n"
            f"sentinel down-after-milliseconds {NAME} {DOWN_MILLISECONDS}\n"
            f"sentinel failover-timeout {NAME} 3000\n"
        )
        with (directory / "sentinel.log").open("ab") as log:
            process = subprocess.Popen(
                [self._program, str(configuration), "--sentinel"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

        def end() -> None:
            process.kill()
            process.wait()

        with contextlib.ExitStack() as stack:
            stack.callback(end)
            wait_until(self._is_known, timeout=FAILOVER_SECONDS, what="Sentinel")
            stack.pop_all()
        return end

    def _await_replica(self) -> None:
        def is_online() -> bool:
            with contextlib.closing(self.primary.client()) as client:
                found = client.info("replication")
            replicas = [found[name] for name in found if name.startswith("slave")]
            port = self.replica.port
            return any(one["port"] == port and one["state"] == "online" for one in replicas)

        wait_until(is_online, timeout=FAILOVER_SECONDS, what="the replica")

    def _is_known(self) -> bool:
        """Whether Sentinel knows the present replica, so that it can promote it."""
        try:
            client: Any = redis.Redis(port=self.port, decode_responses=True)
            with contextlib.closing(client):
                found = client.execute_command("SENTINEL", "REPLICAS", NAME)
        except redis.RedisError:
            return False
        return any(
            int(one["port"]) == self.replica.port and one["master-link-status"] == "ok"
            for one in map(_as_mapping, found)
        )

    def _role(self, server: RedisProcess) -> str:
        with contextlib.closing(server.client()) as client:
            return str(client.info("replication")["role"])


def _as_mapping(found: Any) -> dict[str, str]:
    """Return one replica's fields: a mapping, or a flat list, by the client's version."""
    if isinstance(found, dict):
        return found
    return dict(zip(found[::2], found[1::2], strict=True))
