"""The run in which S3 is away for most of the time."""

from tests.chaos.harness.experiment import Experiment
from tests.chaos.harness.figures import Figures, Terms, chaos_run

# S3 is away for this part of an outage's run.
OUTAGE_SHARE = 0.85


@chaos_run("outage")
def outage_with_kills(terms: Terms) -> Figures:
    """Take S3 away for most of the time, and kill processes and groups meanwhile."""
    with Experiment("S3 outage with kills", terms) as experiment:
        experiment.s3.stop_listening()
        service = experiment.services[0]
        for gone in experiment.rounds(0.1, 1.0):
            if gone > OUTAGE_SHARE:
                experiment.s3.listen_again()
            if experiment.rng.random() < 0.7:
                service.kill_one(experiment.rng)
            else:
                service.kill_group()
                service.restart()
        return experiment.figures()
