"""The run of keys on a shared queue, in its short version."""

from pathlib import Path

import pytest

from tests.chaos.harness.figures import Terms
from tests.chaos.runs.queue import machines_on_a_queue_with_keys
from tests.support.launch.fork import fork
from tests.support.tools import needed

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(150)]


def test_each_key_is_answered_once_on_all_machines(tmp_path: Path) -> None:
    """Web machines and the server are lost; retries elsewhere get one answer, stored once."""
    figures = machines_on_a_queue_with_keys(Terms(seconds=2, seed=1, workdir=tmp_path, launch=fork))
    if figures.skipped:
        needed(None, figures.skipped.removeprefix("needs "))
    assert figures.clean, f"{figures}"
    assert figures.keys > 0
