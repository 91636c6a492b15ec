"""The chaos run of the watermarks in its short version."""

from pathlib import Path

import pytest

from tests.chaos.harness.figures import Terms
from tests.chaos.runs.kills import watermarks
from tests.support.launch.fork import fork

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(150)]


def test_what_a_watermark_says_is_complete_is_there(tmp_path: Path) -> None:
    """Through kills and an outage, a reader that goes by it misses no acknowledged payload."""
    figures = watermarks(Terms(seconds=3, seed=1, workdir=tmp_path, launch=fork))
    assert figures.clean, f"{figures}"
