"""The memory of an upload does not grow with its segment."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.s3 import FakeS3

MIB = 1 << 20
TARGET = 4 * MIB


# The fake S3 takes its time over 200 MiB on a busy machine.
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("mebibytes", "frame"), [(200, 256 << 10), (40, 8 * MIB)])
def test_a_segment_of_any_size_is_uploaded_in_little_memory(
    tmp_path: Path, mebibytes: int, frame: int
) -> None:
    """Of 200 MiB that do not compress no more is held than 1.5 times the target, and a frame."""
    with FakeS3() as s3:
        command = [sys.executable, "-m", "tests.integration.memory.big_segment"]
        given = [str(tmp_path / "spool"), str(mebibytes), str(frame)]
        done = subprocess.run(
            [*command, *given],
            env={**s3.environ(), "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )
        assert done.returncode == 0, done.stderr
        [stored] = s3.objects().values()
    assert len(stored.body) > mebibytes * MIB * 0.9
    # The client and its TLS context, buffers of sockets and what the allocator keeps.
    others = 16 * MIB
    assert int(done.stdout) < 1.5 * TARGET + 2 * frame + others
