"""The run that renews the processes under load."""

import itertools
import signal
from collections.abc import Callable, Mapping, Sequence

from tests.chaos.harness.experiment import FAULTY, Experiment
from tests.chaos.harness.figures import Figures, Terms, chaos_run

# What a restart changes, in turn: nothing of it may touch what is spooled already.
SETTINGS_CHANGES: Sequence[Mapping[str, object]] = (
    {"COMPRESSION": "zstd", "KEY_TEMPLATE": "z/{stream}/{segment}.ndjson.zst"},
    {"DURABILITY": "memory", "WEB_CONCURRENCY": 3},
    {"COMPRESSION": "none", "KEY_TEMPLATE": "{date}/{hour}/{segment}", "LINE_FORMAT": "envelope"},
    {"DURABILITY": "disk", "WEB_CONCURRENCY": 1, "OBJECT_MAX_PAYLOADS": 20},
    {"COMPRESSION": "gzip", "KEY_TEMPLATE": "", "WEB_CONCURRENCY": 2, "LINE_FORMAT": "payload"},
)


@chaos_run("rolling")
def rolling_restart(terms: Terms) -> Figures:
    """Renew the processes under load by SIGHUP, SIGUSR2 and restarts with other settings."""
    with Experiment("rolling restart", terms) as experiment:
        experiment.s3.faults(*FAULTY)
        service = experiment.services[0]
        changes = itertools.cycle(SETTINGS_CHANGES)
        acts: tuple[Callable[[], None], ...] = (
            lambda: service.signal_master(signal.SIGHUP),
            lambda: service.upgrade(side_by_side_seconds=experiment.rng.uniform(0.1, 1.0)),
            lambda: service.change(next(changes)),
            *[lambda: service.signal_master(signal.SIGHUP)] * 2,
        )
        # Each kind once.
        rounds = experiment.rounds(0.0, 0.7, least=3)
        for _, act in zip(rounds, itertools.cycle(acts), strict=False):
            experiment.await_load()
            act()
        return experiment.figures()
