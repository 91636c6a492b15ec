"""The short version of the run with stalled clients."""

from pathlib import Path

import pytest

from tests.chaos.harness.figures import Terms
from tests.chaos.runs.slow_readers import slow_readers
from tests.support.launch.fork import fork


@pytest.mark.chaos
@pytest.mark.timeout(180)  # it starts services and kills them for seconds
def test_stalled_clients_keep_nothing_from_others(tmp_path: Path) -> None:
    """Requests, probes and kills go on beside a hundred clients that neither read nor finish."""
    figures = slow_readers(Terms(workdir=tmp_path, seconds=4, seed=11, launch=fork))
    assert figures.clean, figures.complaints
    assert figures.acknowledged > 100
