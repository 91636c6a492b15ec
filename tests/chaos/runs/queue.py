"""The runs of machines that share a queue: any of them is lost, and the server itself."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.chaos.harness.experiment import FAULTY
from tests.chaos.harness.figures import Figures, Terms, chaos_run
from tests.chaos.harness.queue import MachinesExperiment, QueueExperiment
from tests.chaos.harness.service import UpgradableService
from tests.chaos.harness.sqs import SqsExperiment
from tests.chaos.keys.keyed_flood import RoamingFlood
from tests.chaos.runs.kills import KeyedExperiment
from tests.support.redis.sentinel import Sentinel
from tests.support.redis.server import RedisProcess, program_of
from tests.support.s3 import Fault
from tests.support.s3.watermarks import WatermarkWatch
from tests.support.sqs.server import SqsServer

SLOW = Fault(kind="slow", probability=0.3, seconds=0.5)


@chaos_run("queue")
def machines_on_a_queue(terms: Terms) -> Figures:
    """Two web and two worker machines on one Redis: each kind of loss in turn, then at random."""
    name = "machines on a queue"
    program = program_of()
    if program is None:
        return Figures(name=name, skipped="needs redis-server")
    with (
        RedisProcess(program, terms.workdir / "redis") as server,
        QueueExperiment(name, terms, server=server, WATERMARK_SECONDS=0.2) as experiment,
        WatermarkWatch(experiment.s3) as watch,
    ):
        experiment.add_service()
        experiment.add_worker()
        experiment.add_worker()
        experiment.s3.faults(*FAULTY, SLOW)
        _in_turn(experiment, RedisActs(experiment).all)
        found = experiment.figures()
        missed = list(watch.complaints(experiment.floods))
        return replace(found, complaints=[*found.complaints, *missed])


class KeyedQueueExperiment(KeyedExperiment, QueueExperiment):
    """The clients send keys, to any web machine, and each request again until it is answered."""

    flood = RoamingFlood

    def add_service(self) -> UpgradableService:
        """Start one more web machine, which all clients know."""
        service = super().add_service()
        for flood in self.floods:
            assert isinstance(flood, RoamingFlood)
            flood.ports = [each.port for each in self.services]
        return service

    def lose(self, machine: UpgradableService) -> None:
        """Lose a machine, and what it had leased or claimed."""
        super().lose(machine)
        self.expire()


@chaos_run("keyed-queue")
def machines_on_a_queue_with_keys(terms: Terms) -> Figures:
    """The same with keys: retries go to either web machine, through every kind of loss."""
    name = "machines on a queue, with keys"
    program = program_of()
    if program is None:
        return Figures(name=name, skipped="needs redis-server")
    with (
        RedisProcess(program, terms.workdir / "redis") as server,
        KeyedQueueExperiment(name, terms, server=server) as experiment,
    ):
        experiment.add_service()
        experiment.add_worker()
        experiment.s3.faults(*FAULTY)
        acts = RedisActs(experiment)
        _in_turn(
            experiment,
            (acts.lose_web, acts.restart_server, acts.stand_still_web, acts.everything),
        )
        return experiment.figures()


class Acts:
    """What is done to machines, one after the other."""

    def __init__(self, experiment: MachinesExperiment) -> None:
        self._experiment = experiment
        self.all: tuple[Callable[[], None], ...] = (
            self.lose_web,
            self.lose_worker,
            self.stand_still,
            self.outage,
            experiment.expire,
            self.everything,
        )

    def lose_web(self) -> None:
        """Lose a web machine with its directory."""
        self._experiment.lose(self._experiment.rng.choice(self._experiment.services))

    def lose_worker(self) -> None:
        """Lose a worker machine, in the middle of PUTs."""
        self._experiment.lose(self._experiment.rng.choice(self._experiment.workers))

    def stand_still(self) -> None:
        """Let a machine stand still for longer than its leases."""
        self._experiment.stand_still(self._experiment.rng.choice(self._experiment.machines))

    def stand_still_web(self) -> None:
        """Let a web machine stand still for longer than its claims and its lease as a writer."""
        self._experiment.stand_still(self._experiment.rng.choice(self._experiment.services))

    def outage(self) -> None:
        """Let S3 be away for a while."""
        self._experiment.s3.stop_listening()
        self._experiment.await_load()
        self._experiment.s3.listen_again()

    def everything(self) -> None:
        """Kill all machines, and start them."""
        for machine in self._experiment.machines:
            machine.kill_group()
        for machine in self._experiment.machines:
            machine.start()


class RedisActs(Acts):
    """What is done to machines and to the server."""

    def __init__(self, experiment: QueueExperiment) -> None:
        super().__init__(experiment)
        self._server = experiment.server
        self.all = (*self.all, self.restart_server)

    def restart_server(self) -> None:
        """Kill the server, and start it on what it has on its disk."""
        self._server.kill()
        self._server.start()

    def everything(self) -> None:
        """Kill all machines and the server, and start them."""
        for machine in self._experiment.machines:
            machine.kill_group()
        self.restart_server()
        for machine in self._experiment.machines:
            machine.start()


@chaos_run("sqs")
def machines_on_sqs(terms: Terms) -> Figures:
    """Two web and two worker machines on SQS, whose calls fail: each kind of loss in turn."""
    with (
        SqsServer() as sqs,
        SqsExperiment("machines on SQS", terms, sqs=sqs) as experiment,
    ):
        experiment.add_service()
        experiment.add_worker()
        experiment.add_worker()
        experiment.s3.faults(*FAULTY, SLOW)
        experiment.fail_calls()
        _in_turn(experiment, Acts(experiment).all)
        return experiment.figures()


@chaos_run("failover")
def failover(terms: Terms) -> Figures:
    """Lose the primary with its directory, again and again; a replica is promoted each time."""
    return _failover(terms, QueueExperiment, name="failover of the queue")


@chaos_run("keyed-failover")
def failover_with_keys(terms: Terms) -> Figures:
    """The same with keys: a retry after a failover is answered as its first attempt was."""
    return _failover(terms, KeyedQueueExperiment, name="failover of the queue, with keys", web=2)


def _failover(terms: Terms, kind: type[QueueExperiment], *, name: str, web: int = 1) -> Figures:
    program = program_of((7, 2))
    if program is None:
        return Figures(name=name, skipped="needs redis-server 7.2 or valkey-server")
    with (
        Sentinel(program, terms.workdir / "sentinel") as sentinel,
        kind(
            name, terms, server=sentinel.primary, url=sentinel.url, REDIS_WAIT_REPLICAS=1
        ) as experiment,
    ):
        for _ in range(web - 1):
            experiment.add_service()
        experiment.add_worker()
        experiment.s3.faults(*FAULTY)
        for _ in experiment.rounds(0.5, 1.0):
            experiment.await_load(30)
            sentinel.lose_primary()
            experiment.server = sentinel.primary
        return experiment.figures()


def _in_turn(experiment: MachinesExperiment, acts: Sequence[Callable[[], None]]) -> None:
    """Do one thing after the other, each while clients send, and all at least once."""
    rounds = experiment.rounds(0.2, 0.8, least=len(acts))
    for _, act in zip(rounds, itertools.cycle(acts), strict=False):
        experiment.await_load(30)
        act()
