"""The list of packages of a release: `make sbom`."""

import subprocess
import tomllib
from pathlib import Path

from app.version import VERSION

ROOT = Path(__file__).resolve().parents[3]


def test_the_sbom_has_the_version_of_the_service() -> None:
    """A version that is `dynamic` counts for nothing: what `make sbom` reads has it as it is."""
    printed = subprocess.run(
        ["make", "--dry-run", "--always-make", "sbom"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = printed.stdout.replace("\\\n", " ").splitlines()
    [command] = [line.partition(">")[0] for line in lines if line.startswith("sed ")]
    made = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    project = tomllib.loads(made.stdout)["project"]
    assert project["version"] == VERSION
    assert "version" not in project["dynamic"]
