"""Runs that kill processes: one at a time, all at once, of two services, while one reads."""

from dataclasses import replace

from tests.chaos.harness.experiment import FAULTY, LOADS, Experiment
from tests.chaos.harness.figures import Figures, Terms, chaos_run
from tests.chaos.keys.keyed_flood import KeyedFlood
from tests.support.s3.watermarks import WatermarkWatch

# Of this part of the run, in the middle, S3 is away.
AWAY = (0.4, 0.6)


def kill_processes(experiment: Experiment) -> Figures:
    """Kill one process after another, and judge."""
    experiment.s3.faults(*FAULTY)
    for _ in experiment.rounds(0.05, 0.8):
        experiment.services[0].kill_one(experiment.rng)
    return experiment.figures()


def kill_groups(experiment: Experiment) -> Figures:
    """Kill all processes at once and start again, over and over, and judge."""
    experiment.s3.faults(*FAULTY)
    for _ in experiment.rounds(0.0, 0.5):
        experiment.await_load()
        experiment.services[0].kill_group()
        experiment.services[0].restart()
    return experiment.figures()


@chaos_run("processes")
def killed_processes(terms: Terms) -> Figures:
    """Kill -9 one gunicorn process after another, at random, with an S3 that often fails."""
    with Experiment("kill -9 of processes", terms, WEB_CONCURRENCY=3) as experiment:
        return kill_processes(experiment)


@chaos_run("group")
def killed_group(terms: Terms) -> Figures:
    """Kill -9 all processes at once under load, start again, and so on."""
    with Experiment("kill -9 of the group", terms) as experiment:
        return kill_groups(experiment)


class Partitioned(Experiment):
    """Each collection goes to several partitions, of which few have open segments at a time."""

    loads = tuple(replace(load, parts=5) for load in LOADS)


@chaos_run("two-services")
def two_services(terms: Terms) -> Figures:
    """Run two services on one spool, each killed and started again at random."""
    template = "{stream}/part={payload.part}/{segment}.gz"
    with Partitioned(
        "two services, one spool", terms, KEY_TEMPLATE=template, MAX_STREAMS=8
    ) as experiment:
        experiment.s3.faults(*FAULTY)
        experiment.add_service()
        for _ in experiment.rounds(0.0, 0.5):
            service = experiment.rng.choice(experiment.services)
            if not service.processes():
                service.restart()
            elif experiment.rng.random() < 0.5:
                service.kill_one(experiment.rng)
            else:
                service.kill_group()
        return experiment.figures()


class KeyedExperiment(Experiment):
    """The clients send keys, and each request again until it is answered."""

    flood = KeyedFlood

    def figures(self) -> Figures:
        """Judge every answer, and that no key has two."""
        found = super().figures()
        floods = [flood for flood in self.floods if isinstance(flood, KeyedFlood)]
        wrong = [
            *(f"key {n} has two answers" for flood in floods for n in flood.disagreeing),
            *(f"key {n} has no answer" for flood in floods for n in flood.unanswered),
        ]
        if not sum(flood.repeats for flood in floods):
            wrong.append("no request was answered again")
        keys = sum(len(flood.answers) for flood in floods)
        return replace(found, keys=keys, complaints=[*found.complaints, *wrong])


@chaos_run("keyed-processes")
def killed_processes_with_keys(terms: Terms) -> Figures:
    """Kill -9 one process after another; clients send each key until it is answered."""
    with KeyedExperiment("kill -9 of processes, with keys", terms, WEB_CONCURRENCY=3) as experiment:
        return kill_processes(experiment)


@chaos_run("keyed-group")
def killed_group_with_keys(terms: Terms) -> Figures:
    """Kill -9 all processes at once, start again, and so on; clients send keys."""
    with KeyedExperiment("kill -9 of the group, with keys", terms) as experiment:
        return kill_groups(experiment)


@chaos_run("watermarks")
def watermarks(terms: Terms) -> Figures:
    """Kill processes, groups and S3; what a watermark says is complete has to be there."""
    settings = {"WATERMARK_SECONDS": 0.2, "WEB_CONCURRENCY": 3}
    with Experiment("watermarks, with kills", terms, **settings) as experiment:
        with WatermarkWatch(experiment.s3) as watch:
            experiment.s3.faults(*FAULTY)
            service = experiment.services[0]
            is_away = False
            for gone in experiment.rounds(0.1, 0.8):
                if is_away != (AWAY[0] < gone < AWAY[1]):
                    is_away = not is_away
                    change = "stop_listening" if is_away else "listen_again"
                    getattr(experiment.s3, change)()
                if experiment.rng.random() < 0.7:
                    service.kill_one(experiment.rng)
                else:
                    service.kill_group()
                    service.restart()
            found = experiment.figures()
            missed = list(watch.complaints(experiment.floods))
        return replace(found, complaints=[*found.complaints, *missed])
