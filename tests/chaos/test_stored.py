"""The chaos run of `DURABILITY=stored` in its short version."""

from pathlib import Path

import pytest

from tests.chaos.harness.figures import Terms
from tests.chaos.runs.stored import machines_vanish
from tests.support.launch.fork import fork

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(150)]


def test_a_machine_that_vanishes_takes_no_answered_payload_along(tmp_path: Path) -> None:
    """Two machines, each killed with its directories: what was answered is in the bucket, once."""
    figures = machines_vanish(Terms(seconds=2, seed=1, workdir=tmp_path, launch=fork))
    assert figures.clean, f"{figures}"
