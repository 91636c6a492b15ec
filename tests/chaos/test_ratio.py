"""The chaos run of ratio shifts in its short version."""

from pathlib import Path

import pytest

from tests.chaos.harness.figures import Terms
from tests.chaos.runs.ratio import ratio_shifts
from tests.support.launch.fork import fork

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(150)]


def test_shifts_of_the_ratio_and_kills_bound_memory_and_objects(tmp_path: Path) -> None:
    """What compressed a thousandfold and then not at all makes no large object, nor process."""
    figures = ratio_shifts(Terms(seconds=5, seed=1, workdir=tmp_path, launch=fork))
    assert figures.clean, f"{figures}"
