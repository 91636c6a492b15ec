"""`git archive`: what it makes runs without git, as a release is unpacked."""

import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from app.version import VERSION

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """Unpack an archive of the last commit; there is none in an unpacked archive itself."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("this is no checkout with git: it may be an unpacked archive itself")
    made = subprocess.run(
        [git, "-C", ROOT, "archive", "--format=zip", f"--prefix=bucket-brigade-{VERSION}/", "HEAD"],
        stdout=subprocess.PIPE,
        check=True,
    )
    with zipfile.ZipFile(io.BytesIO(made.stdout)) as archive:
        archive.extractall(tmp_path)
    return tmp_path / f"bucket-brigade-{VERSION}"


def test_an_unpacked_archive_runs_commands_and_tests(unpacked: Path) -> None:
    """It prints its version, lists what make can do, and passes the tests of a release."""
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(unpacked), "S3_BUCKET": "events"}

    def run(*command: str) -> str:
        done = subprocess.run(
            command,
            cwd=unpacked,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    flask = run(sys.executable, "-m", "flask", "--app", "wsgi", "version")
    assert flask.startswith("bucket-brigade ")
    assert "make run" in run("make")
    tests = "tests/unit/deploy/test_release.py"
    assert " passed" in run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests)
