"""The set-up of a run on a shared queue: machines in directories of their own, the queue, and S3.

Leases are not waited for: a run says that they have expired, of the living too. That is what a
machine sees that stood still for longer.
"""

import contextlib
import itertools
import os
import shutil
import signal
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import redis

from tests.chaos.harness.experiment import HOUR, LOADS, Experiment
from tests.chaos.harness.figures import Terms
from tests.chaos.harness.service import STOP_SECONDS, UpgradableService
from tests.support import wait_until
from tests.support.redis.server import RedisProcess
from workers.settings.stored import counters_directory

PREFIX = "{bucket-brigade}:"
EXPIRE_SECONDS = 0.5
END_CLAIMS = "for _, each in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', each) end"


class MachinesExperiment(Experiment):
    """A web machine with load against it; more machines as they are added."""

    loads = tuple(replace(load, payloads=(1, 200), pause_seconds=0.01) for load in LOADS)

    def __init__(self, name: str, terms: Terms, **settings: object) -> None:
        fixed = {
            "DURABILITY": "queue",
            "RECEIPT_SECRET": "chaos",
            "WEB_CONCURRENCY": 1,
            "ROLE": "web",
            "OBJECT_MAX_PAYLOADS": 2000,
        }
        super().__init__(name, terms, **{**fixed, **settings})
        self.workers: list[UpgradableService] = []
        self._numbers = itertools.count()

    @abstractmethod
    def expire(self) -> None:
        """Let all leases have expired."""

    @abstractmethod
    def is_drained(self) -> bool:
        """Whether nothing is in the queue any more."""

    def _machine(self, role: str) -> UpgradableService:
        directory = self._terms.workdir / f"{role}-{next(self._numbers)}"
        directory.mkdir(parents=True)
        settings = {**self._settings, "ROLE": role, "SPOOL_DIR": directory / "spool"}
        return UpgradableService(directory, self.s3, settings=settings, launch=self._terms.launch)

    def add_service(self) -> UpgradableService:
        """Start one more web machine, and the floods against it."""
        service = self._machine("web")
        self.services.append(service)
        service.restart()
        for load in self.loads:
            prefix = f"{self._terms.seed}-{len(self.floods)}"
            plan = replace(load, seconds=HOUR, timeout_seconds=STOP_SECONDS, prefix=prefix)
            self.floods.append(self.flood(service.port, plan))
            self.floods[-1].start()
        return service

    def add_worker(self) -> UpgradableService:
        """Start one more worker machine."""
        worker = self._machine("worker")
        self.workers.append(worker)
        worker.restart()
        return worker

    @property
    def machines(self) -> list[UpgradableService]:
        """All machines."""
        return [*self.services, *self.workers]

    def lose(self, machine: UpgradableService) -> None:
        """Kill a machine and delete its directory; another comes to its address."""
        self._end(machine)
        home = machine.log_path.parent
        log = machine.log_path.read_bytes()
        shutil.rmtree(home)
        home.mkdir()
        # What it had logged is for the judgement.
        machine.log_path.write_bytes(log)
        machine.start()

    def stand_still(self, machine: UpgradableService) -> None:
        """Stop a machine for longer than its leases, and let it go on."""
        pids = machine.processes()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        self.expire()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _settle(self) -> Iterator[str]:
        yield from self._drained()
        yield from super()._settle()

    def _drained(self) -> Iterator[str]:
        """See that every machine runs, and that all is stored once leases have expired."""
        for machine in self.machines:
            if not machine.processes():
                machine.start()
        for machine in self.machines:
            machine.wait_ready(timeout=STOP_SECONDS)
        try:
            wait_until(self._drains, timeout=STOP_SECONDS, what="all to be stored")
        except AssertionError as error:
            yield str(error)

    def _drains(self) -> bool:
        self.expire()
        return self.is_drained()

    def _left_in_spool(self) -> list[str]:
        """Return what any machine has written to its disk."""
        return [f"disk: {one.spool_dir}" for one in self.machines if one.spool_dir.exists()]

    def _end_services(self) -> None:
        for machine in self.machines:
            self._end(machine)

    def _end(self, machine: UpgradableService) -> None:
        machine.kill_group()
        own = counters_directory(self.s3.bucket, machine.port, durability="queue")
        shutil.rmtree(own, ignore_errors=True)


class QueueExperiment(MachinesExperiment):
    """Machines on Redis: `url` is how they reach it, `server` the process that is the primary."""

    def __init__(
        self, name: str, terms: Terms, *, server: RedisProcess, url: str = "", **settings: object
    ) -> None:
        super().__init__(name, terms, QUEUE_URL=url or server.url, **settings)
        self.server = server
        self._watch.may_be_away = True

    def expire(self) -> None:
        """Let all leases have expired."""
        with contextlib.suppress(redis.RedisError), contextlib.closing(self.client()) as client:
            for kind in ("leased", "writers"):
                for name in client.zrange(PREFIX + kind, 0, -1):
                    client.zadd(PREFIX + kind, {name: 1}, xx=True)
            client.eval(END_CLAIMS, 0, f"{PREFIX}claim:*")
            client.hset(f"{PREFIX}watermark", "until", 1)

    def client(self) -> Any:
        """Return a client of the primary."""
        return self.server.client()

    def is_drained(self) -> bool:
        """Whether no segment is in the queue any more."""
        with contextlib.closing(self.client()) as client:
            return bool(client.zcard(f"{PREFIX}unstored") == 0)

    def _left_in_spool(self) -> list[str]:
        """Return what any machine has written to its disk, and what stays in the queue."""
        with contextlib.closing(self.client()) as client:
            kinds = ("lines:*", "segment:*", "open:*")
            left = [name for kind in kinds for name in client.keys(PREFIX + kind)]
        return [*super()._left_in_spool(), *(f"queue: {name}" for name in left)]
