"""A release: one version, in one place, which all that shows it takes from there."""

import platform
import re
import tomllib
from pathlib import Path

from click.testing import CliRunner
from prometheus_client import CollectorRegistry, generate_latest

from app.cli.commands import version
from app.routes.metrics import _Figures
from app.version import VERSION
from workers.spool.counters import Totals

ROOT = Path(__file__).resolve().parents[3]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
SECTIONS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def test_the_version_is_semantic() -> None:
    """Three numbers, and a suffix before a release if any (semver.org)."""
    assert re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", VERSION)


def test_the_project_s_file_takes_the_version_from_the_code() -> None:
    """pyproject.toml has none of its own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "app.version.VERSION"}


def test_the_examples_name_the_version() -> None:
    """Kubernetes and Docker Compose run the image of this version."""
    for name in (
        "statefulset.yaml",
        "compose.yaml",
        "queue-deployments.yaml",
        "compose-queue.yaml",
    ):
        example = (ROOT / "deploy" / name).read_text()
        assert set(re.findall(r"image: \S*bucket-brigade:(\S+)", example)) == {VERSION}


def test_the_command_prints_the_version() -> None:
    """With what a report of a fault needs to name."""
    said = CliRunner().invoke(version).stdout
    assert said.startswith(f"bucket-brigade {VERSION}\nPython {platform.python_version()}, ")
    for name in ("gunicorn", "granian"):
        pinned = re.search(f"^{name}==(.+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
        assert pinned
        assert f"{name} {pinned[1]}" in said


def test_the_metrics_name_the_version() -> None:
    """So a dashboard can show which machine runs which."""
    registry = CollectorRegistry()
    registry.register(_Figures(Totals([])))
    labels = f'python="{platform.python_version()}",version="{VERSION}"'
    assert f"bucket_brigade_build_info{{{labels}}} 1.0" in generate_latest(registry).decode()


def test_the_changelog_has_the_form_that_it_names() -> None:
    """Unreleased first, then releases with their dates, newest first, in the known sections."""
    headings = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    releases = [re.fullmatch(r"\[(\S+)\] - (\d{4}-\d\d-\d\d)", each) for each in headings[1:]]
    assert all(releases)
    assert [each[1] for each in releases if each][:1] in ([], [VERSION])
    for part in CHANGELOG.split("\n## ")[1:]:
        sections = re.findall(r"^### (.+)$", part, re.MULTILINE)
        assert sections == [each for each in SECTIONS if each in sections]
