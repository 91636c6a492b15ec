"""The short version of the chaos run `parked-jobs`."""

from pathlib import Path

import pytest

from tests.chaos.harness.figures import Terms
from tests.chaos.runs.parked_jobs import parked_jobs
from tests.support.launch.fork import fork

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(150)]


def test_what_cannot_go_holds_up_nothing_and_is_not_lost(tmp_path: Path) -> None:
    """A denied stream, a missing bucket, throttling, and kills: all is stored once in the end."""
    figures = parked_jobs(Terms(seconds=2, seed=1, workdir=tmp_path, launch=fork))
    assert figures.clean, f"{figures}"
