"""The kill loops with keys, in their short versions."""

from pathlib import Path

import pytest

from tests.chaos.harness.figures import Run, Terms
from tests.chaos.runs import kills
from tests.support.launch.fork import fork

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(150)]

SECONDS = 2.0


def survive(run: Run, workdir: Path) -> None:
    """Let a run pass: it must be clean."""
    figures = run(Terms(seconds=SECONDS, seed=1, workdir=workdir, launch=fork))
    assert figures.clean, f"{figures}"
    assert figures.keys > 0


def test_kills_of_processes_answer_each_key_once(tmp_path: Path) -> None:
    """Another process answers as the killed one did, or would have."""
    survive(kills.killed_processes_with_keys, tmp_path)


def test_kills_of_the_group_answer_each_key_once(tmp_path: Path) -> None:
    """After a restart each retry is answered, and each payload is stored once."""
    survive(kills.killed_group_with_keys, tmp_path)
