"""The chaos runs in their short versions: processes killed, renewed and starved of disk and S3."""

from pathlib import Path

import pytest

from tests.chaos.harness.experiment import Experiment
from tests.chaos.harness.figures import Figures, Run, Terms
from tests.chaos.runs import full_disk, full_disk_streams, kills, outage, power_cuts, restarts
from tests.support.launch.fork import fork

# An abandoned spool is found within 30 s; the judgement of a broken promise waits four times that.
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(150)]

SECONDS = 2.0


both_engines = pytest.mark.parametrize("engine", ["granian", "gthread"])


def survive(
    run: Run, workdir: Path, *, seconds: float = SECONDS, engine: str = "granian"
) -> Figures:
    """Let a run pass; it must be clean, or say why it cannot be had here."""
    figures = run(Terms(seconds=seconds, seed=1, workdir=workdir, engine=engine, launch=fork))
    if figures.skipped:
        pytest.skip(figures.skipped)
    assert figures.clean, f"{figures}"
    return figures


@both_engines
def test_kill_9_of_random_processes_loses_nothing(tmp_path: Path, engine: str) -> None:
    """Whichever process dies, and whenever, what it answered 202 is stored once, by another."""
    survive(kills.killed_processes, tmp_path, engine=engine)


@both_engines
def test_kill_9_of_the_whole_group_loses_nothing(tmp_path: Path, engine: str) -> None:
    """All processes killed in the middle of a flood: the next start stores every 202, once."""
    survive(kills.killed_group, tmp_path, engine=engine)


def test_two_services_share_a_spool_and_each_others_death(tmp_path: Path) -> None:
    """Two services on one spool, killed and started again, adopt from each other, and once only."""
    survive(kills.two_services, tmp_path)


@both_engines
def test_a_rolling_restart_loses_nothing(tmp_path: Path, engine: str) -> None:
    """Old and new processes side by side, and changed settings, do no harm to what is spooled."""
    survive(restarts.rolling_restart, tmp_path, engine=engine)


def test_kills_during_an_outage_lose_nothing(tmp_path: Path) -> None:
    """Processes that die while S3 is away leave all they had to those that see it come back."""
    survive(outage.outage_with_kills, tmp_path)


def test_a_full_disk_refuses_and_recovers_alone(tmp_path: Path) -> None:
    """A spool without space answers 503, loses nothing, and accepts again once S3 is back."""
    survive(full_disk.full_disk, tmp_path)


def test_many_streams_fill_a_disk_and_processes_are_killed_on_it(tmp_path: Path) -> None:
    """Kills and starts on a disk that many streams have filled end in a service that empties it."""
    survive(full_disk_streams.full_disk_kills, tmp_path)


def test_the_power_cut_model_is_a_chaos_run(tmp_path: Path) -> None:
    """The model's figures arrive in the table's form."""
    figures = survive(power_cuts.power_cuts, tmp_path, seconds=0.1)
    assert figures.faults > 0


def test_a_broken_promise_is_seen(tmp_path: Path) -> None:
    """Payloads kept in memory die with their process, and the judge and the ledger say so."""
    terms = Terms(seconds=0, seed=1, workdir=tmp_path, launch=fork)
    with Experiment("memory", terms, DURABILITY="memory") as experiment:
        experiment.s3.stop_listening()
        experiment.await_load()
        experiment.services[0].kill_and_start()
        found = experiment.figures()
    assert found.lost > 0
    assert not found.ledger_ok
    assert not found.clean
