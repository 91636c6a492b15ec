"""The steps of `make bench ARGS=stages` call parts of the service; each still finds its part."""

from pathlib import Path

import pytest

from benchmarks.stages.command import STEPS
from benchmarks.stages.fixtures import Lab
from tests.support.s3 import FakeS3


@pytest.mark.parametrize("name", STEPS)
def test_every_step_runs(tmp_path: Path, s3: FakeS3, name: str) -> None:
    """A part that has moved or changed fails here, and not in a table that a reader waited for."""
    step = STEPS[name][1]
    call, _ = step(Lab(tmp_path, {"S3_BUCKET": s3.bucket, **s3.environ()}), 10)
    call()
