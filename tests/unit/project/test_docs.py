"""The documents: what the service has, they have, and what they point at is there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from flask import Flask
from marshmallow import fields

from app.access.credentials import digest
from app.cli import commands as cli
from app.factory import create_app
from tests.support.bench import settings_for
from tests.support.doubles import DictBucket
from workers.pipeline import Pipeline
from workers.segments.naming import default_template
from workers.settings.settings import SettingsSchema
from workers.spool.counters import Field
from workers.upload.s3_errors import REASONS

ROOT = Path(__file__).resolve().parents[3]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
}
DOCS = "\n".join(PAGES.values())
SETTINGS = SettingsSchema().fields


# Some figures are there with an access file only.
ADMIN = {"Authorization": "Bearer a"}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    """Make the application over a pipeline whose threads never start."""
    access_file = tmp_path / "access.toml"
    access_file.write_text(f'[keys.a]\nsha256 = ["{digest("a").hex()}"]\nscope = "admin"\n')
    settings = settings_for(tmp_path, DURABILITY="memory", ACCESS_FILE=access_file)
    pipeline = Pipeline(settings, bucket=DictBucket())
    yield create_app(settings, pipeline=lambda: pipeline)
    pipeline.stop()


def section(page: str, heading: str) -> str:
    """Return what is under a heading of the second level."""
    return PAGES[page].partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(text: str) -> dict[str, list[str]]:
    """Return the rows of tables by the first word in backticks in them."""
    found = {}
    for line in text.splitlines():
        if match := re.match(r"\| `([^`{ ]+)", line):
            found[match[1]] = [cell.strip() for cell in line.strip("|").split("|")]
    return found


SETTINGS_TABLE = rows(section("README.md", "Settings"))


def shown(name: str, field: fields.Field[Any]) -> str:
    """Return a setting's default as the table shows it."""
    match field:
        case fields.Field(required=True):
            return "required"
        case fields.Boolean():
            return "`on`" if field.load_default else "`off`"
    if name == "web_concurrency":
        return "cores"
    default = default_template("gzip") if name == "key_template" else field.load_default
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`" if default else "none"


# --- Settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_in_the_table(name: str) -> None:
    """With its default as it is, and the meaning that it has in the code."""
    _, default, meaning = SETTINGS_TABLE[name.upper()]
    assert default.partition(" (")[0] == shown(name, SETTINGS[name])
    assert meaning.startswith(SETTINGS[name].metadata["help"])


def test_no_setting_is_made_up() -> None:
    """The table of settings has nothing that the service does not read."""
    assert set(SETTINGS_TABLE) == {name.upper() for name in SETTINGS}


# --- Routes, figures, commands --------------------------------------------------------------------


def test_every_route_is_documented(app: Flask) -> None:
    """The contract has a heading for each route and method."""
    headings = " ".join(line for line in PAGES["docs/http.md"].splitlines() if line[:3] == "## ")
    headings = headings.replace("\\", "")
    for rule in app.url_map.iter_rules():
        methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        for method in methods:
            assert re.search(f"{method} {re.escape(rule.rule)}(,| |$)", headings), rule


def test_every_figure_of_stats_is_documented(app: Flask) -> None:
    """Each key of /stats is explained, and no other."""
    table = rows(section("docs/http.md", "GET /stats"))
    assert set(table) == set(app.test_client().get("/stats", headers=ADMIN).get_json())


def test_every_metric_is_documented(app: Flask) -> None:
    """Each metric is explained under the name and type it is exposed with, and no other."""
    said = app.test_client().get("/metrics", headers=ADMIN).get_data(as_text=True)
    exposed = dict(re.findall(r"^# TYPE (\S+) (\S+)$", said, re.MULTILINE))
    table = rows(section("docs/http.md", "GET /metrics"))
    assert {name: row[1] for name, row in table.items()} == exposed


def test_every_label_is_documented() -> None:
    """Each reason why a PUT fails, and each status that is counted, is documented."""
    table = rows(section("docs/http.md", "GET /metrics"))
    reasons = table["bucket_brigade_put_failures_total"][2]
    assert re.findall(r"`(\w+)`", reasons) == list(REASONS)
    counted = [name[9:] for name in Field.__members__ if name.startswith("REQUESTS_")]
    statuses = table["bucket_brigade_requests_total"][2]
    assert re.findall(r"\d{3}", statuses) == counted


def commands(command: click.Command, *above: str) -> Iterator[list[str]]:
    """Yield the words of each command that can be run."""
    words = [*above, command.name or ""]
    if isinstance(command, click.Group):
        for part in command.commands.values():
            yield from commands(part, *words)
    else:
        yield words


def test_every_command_is_documented() -> None:
    """Each command for operators is in their document."""
    text = section("docs/operations.md", "Commands")
    for command in cli.COMMANDS:
        for name, *rest in commands(command):
            assert f"`flask {name}" in text
            assert all(f"`{word} " in text or f"{name} {word}" in text for word in rest)


# --- What they point at ---------------------------------------------------------------------------


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.replace("\\", "")) for heading in headings)
    return {heading.lower().replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Every link to a file, or to a heading in one, finds it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        found = (ROOT / page).parent / path if path else ROOT / page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found.read_text()), target


def names_in(path: Path) -> set[str]:
    """Return the names of the tests in a file."""
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_is_named_exists() -> None:
    """What is promised is held by the tests that the documents name."""
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", DOCS)
    assert named
    for path, name in named:
        assert name in names_in(ROOT / path), f"{path}::{name}"


def test_every_file_that_is_named_exists() -> None:
    """Modules and files named in backticks are where the documents say."""
    top = r"(?:app|workers|tests|docs|deploy|benchmarks)"
    for name in re.findall(rf"`({top}/[\w./]+)`", DOCS):
        assert (ROOT / name).exists(), name
