"""The chaos runs of the shared queue in their short versions."""

from pathlib import Path

import pytest

from tests.chaos.harness.figures import Run, Terms
from tests.chaos.runs.queue import failover, machines_on_a_queue
from tests.support.launch.fork import fork
from tests.support.tools import needed

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(150)]


@pytest.mark.parametrize("run", [machines_on_a_queue, failover])
def test_what_was_acknowledged_outlives_machines(tmp_path: Path, run: Run) -> None:
    """Web and worker machines, the server and its primary are lost; each 202 is stored once."""
    figures = run(Terms(seconds=3, seed=1, workdir=tmp_path, launch=fork))
    if figures.skipped:
        needed(None, figures.skipped.removeprefix("needs "))
    assert figures.clean, f"{figures}"
