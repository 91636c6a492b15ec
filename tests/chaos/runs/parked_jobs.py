"""The run in which part of what goes to S3 cannot go, for one cause after the other."""

import itertools
from collections.abc import Sequence

from tests.chaos.harness.experiment import Experiment
from tests.chaos.harness.figures import Figures, Terms, chaos_run
from tests.support.s3 import Fault

DENIED = Fault(kind="error", status=403, code="AccessDenied", key_contains="a/")
# What S3 says of it; with the first the other streams must go on.
CAUSES: Sequence[Fault] = (
    DENIED,
    Fault(kind="error", status=404, code="NoSuchBucket"),
    DENIED,
    Fault(kind="error", status=503, code="SlowDown", probability=0.7),
    DENIED,
    Fault(kind="error", status=409, code="OperationAborted", key_contains="b/", probability=0.5),
)
PROGRESS_SECONDS = 30.0


@chaos_run("parked-jobs")
def parked_jobs(terms: Terms) -> Figures:
    """Deny a stream, the bucket, or some requests in turn; kill processes that have jobs parked."""
    with Experiment("parked jobs, with kills", terms) as experiment:
        service = experiment.services[0]
        rounds = experiment.rounds(0.2, 1.0, least=len(CAUSES))
        for _, cause in zip(rounds, itertools.cycle(CAUSES), strict=False):
            experiment.s3.faults(cause)
            experiment.await_load()
            if cause is DENIED:
                await_progress(experiment)
            if experiment.rng.random() < 0.3:
                service.kill_one(experiment.rng)
        return experiment.figures()


def await_progress(experiment: Experiment) -> None:
    """Block until more payloads are stored: what is denied holds up no other stream."""
    service = experiment.services[0]
    before = service.stats()["stored"]
    service.wait_stats(lambda stats: stats["stored"] > before, timeout=PROGRESS_SECONDS)
