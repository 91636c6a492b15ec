"""The pipeline's threads: as many as it owns, and they outlive errors."""

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.integration.pipeline.samples import (
    Leave,
    Start,
    accept,
    ours,
    stored,
    until,
    until_stored,
)
from tests.support.bench import settings_for
from tests.support.doubles import DictBucket
from tests.support.s3 import FakeS3
from workers.intake import feeder
from workers.pipeline import Pipeline
from workers.spool.counters import Field, Totals
from workers.spool.spool import Spool
from workers.stores.job_source import AdoptedJobs


@pytest.mark.parametrize(("durability", "committer"), [("disk", {"committer"}), ("memory", set())])
def test_threads_alive_are_threads_owned(
    start: Start, durability: str, committer: set[str]
) -> None:
    """Those that the pipeline names are all there are, and after the stop there are none."""
    pipeline = start(DURABILITY=durability)
    workers = {"worker-1", "worker-2", "worker-3"}
    assert ours() == workers | {"dispatcher", "sealer", "adopter", "timer"} | committer
    assert ours() == set(pipeline._threads.alive)
    until(lambda: pipeline.totals()[Field.IDLE_WORKERS] == 3, "idle workers")
    pipeline.stop()
    assert ours() == set()


def test_a_thread_that_ends_at_once_in_a_stop_is_no_fault(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adopter may be gone before the stop has taken its first step."""
    pipeline = start()
    tell_to_stop = pipeline._adopter.end

    def stop_and_see_the_adopter_end() -> None:
        tell_to_stop()
        until(lambda: "adopter" not in pipeline._threads.alive, "the adopter's end")

    monkeypatch.setattr(pipeline._adopter, "end", stop_and_see_the_adopter_end)
    pipeline.stop()
    assert pipeline._threads.fault is None


def test_a_pipeline_that_never_started_can_be_stopped(tmp_path: Path) -> None:
    """A stop between construction and start leaves nothing behind."""
    pipeline = Pipeline(settings_for(tmp_path), bucket=DictBucket())
    pipeline.stop()
    assert not pipeline.process_spool.path.exists()


def test_the_sealer_and_the_adopter_outlive_errors(
    start: Start,
    leave_behind: Leave,
    s3: FakeS3,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An unforeseen error costs one round and a line in the log, and not the thread."""
    monkeypatch.setattr(AdoptedJobs, "look_seconds", 0.02)
    monkeypatch.setattr(feeder, "CHECK_SECONDS", 0.02)
    adopt_orphans, totals = Spool.adopt_orphans, Spool.totals
    failures = iter([True, True, True, True])

    def adopt_with_trouble(self: Spool) -> Any:
        if next(failures, False):
            raise RuntimeError("adopting")
        return adopt_orphans(self)

    def totals_with_trouble(self: Spool) -> Totals:
        if threading.current_thread().name == "sealer" and next(failures, False):
            raise RuntimeError("adding up")
        return totals(self)

    monkeypatch.setattr(Spool, "adopt_orphans", adopt_with_trouble)
    monkeypatch.setattr(Spool, "totals", totals_with_trouble)
    leave_behind(1)
    pipeline = start()
    accept(pipeline, b'{"new":1}')
    until_stored(pipeline, 2)
    assert stored(s3) == [b'{"left":0}', b'{"new":1}']
