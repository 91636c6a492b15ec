"""deploy/local.py as a command, while the embedded S3 is down."""

import subprocess
import sys
from pathlib import Path

import pytest

from deploy import local


@pytest.mark.parametrize(
    ("command", "succeeds"), [(["keys", "new", "me"], True), (["objects"], False)]
)
def test_only_commands_that_ask_s3_need_the_embedded_one(
    command: list[str], *, succeeds: bool, tmp_path: Path
) -> None:
    """A key is made before the first `make run` with an access file; objects are in S3 only."""
    launcher = [sys.executable, local.__file__, "flask", *command]
    environment = {"S3_PORT": "1", "SPOOL_DIR": str(tmp_path)}

    result = subprocess.run(
        launcher, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert (result.returncode == 0) == succeeds, result.stderr
    assert ("no embedded S3 answers" in result.stderr) != succeeds
