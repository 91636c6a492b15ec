"""The Grafana dashboard: it asks for what /metrics has, in the form that Grafana imports."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from app.access.credentials import digest
from app.factory import create_app
from tests.support.bench import settings_for
from tests.support.doubles import DictBucket
from workers.pipeline import Pipeline

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel.get("targets", [])]
# Prometheus adds them when it scrapes.
OF_THE_SCRAPE = {"instance", "job"}
COLUMNS = 24


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    """Make the application with keys, over a pipeline whose threads never start."""
    access_file = tmp_path / "access.toml"
    access_file.write_text(f'[keys.a]\nsha256 = ["{digest("a").hex()}"]\nscope = "admin"\n')
    settings = settings_for(tmp_path, DURABILITY="memory", ACCESS_FILE=access_file)
    pipeline = Pipeline(settings, bucket=DictBucket())
    yield create_app(settings, pipeline=lambda: pipeline)
    pipeline.stop()


def exposed(app: Flask) -> dict[str, set[str]]:
    """Return the labels of each series of /metrics, by its name."""
    client = app.test_client()
    # The first answer is counted by key, and seen in the second.
    for _ in range(2):
        answer = client.get("/metrics", headers={"Authorization": "Bearer a"})
    client.get("/nowhere", headers={"Authorization": "Bearer a"})
    series: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(answer.get_data(as_text=True)):
        series.setdefault(
            f"{family.name}_total" if family.type == "counter" else family.name, set()
        )
        for sample in family.samples:
            series.setdefault(sample.name, set()).update(sample.labels)
    return series


def test_every_metric_of_a_query_is_exposed(app: Flask) -> None:
    """The dashboard and the alerts name no series that /metrics does not have."""
    series = exposed(app)
    rules = (DEPLOY / "prometheus-rules.yml").read_text()
    for text in [*QUERIES, *re.findall(r"expr: (.*)", rules)]:
        names = re.findall(r"\bbucket_brigade_\w+", text)
        assert names or text.startswith("up{")
        assert set(names) <= series.keys(), text


def test_every_label_of_a_query_is_exposed(app: Flask) -> None:
    """What a query selects or groups by is a label of the series that it names."""
    series = exposed(app)
    # They have samples only once a key was refused.
    series["bucket_brigade_key_refusals_total"] = {"key", "status"}
    for query in QUERIES:
        names = re.findall(r"\bbucket_brigade_\w+", query)
        known = OF_THE_SCRAPE.union(*(series[name] for name in names))
        grouped = [label for group in re.findall(r"by \(([^)]*)\)", query) for label in
                   group.split(", ")]  # fmt: skip
        selected = re.findall(r"(\w+)(?:=~|!~|!=|=)\"", query)
        assert {*grouped, *selected} <= known, query


def test_the_panels_have_grafana_s_form() -> None:
    """Each has its own number, a place of its own, a title, and the chosen data source."""
    assert DASHBOARD["schemaVersion"] >= 36
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    assert "id" not in DASHBOARD, "Grafana gives the number when it imports"
    taken = set()
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken
                taken.add((x, y))
        assert panel["title"]
        for target in panel.get("targets", []):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert target["refId"]


def test_every_variable_is_defined() -> None:
    """Queries use the variables of the dashboard, and Grafana's own."""
    defined = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD)))
    assert used - {"__rate_interval", "__all"} == defined
