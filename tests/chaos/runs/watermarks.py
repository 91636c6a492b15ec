"""The run whose consumer goes by the watermarks, while processes and the group are killed."""

from dataclasses import replace

from tests.chaos.harness.experiment import FAULTY, Experiment
from tests.chaos.harness.figures import Figures, Terms, chaos_run
from tests.support.s3.watermarks import WatermarkWatch

# Of this part of the run, in the middle, S3 is away.
AWAY = (0.4, 0.6)


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
