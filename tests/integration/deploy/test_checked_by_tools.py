"""The examples of deploy/, each checked by the tool that would read it."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # its types are a package of their own

from tests.support.certificates import make_certificate
from tests.support.tools import program

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus-rules.yml"
RULES_TEST = DEPLOY / "prometheus-rules.test.yml"
ALERTS = [rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]]


def run(*command: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a tool, and return what it printed, both streams in one."""
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def test_the_alerts_fire_and_keep_quiet() -> None:
    """Prometheus' own test of rules: series that must fire each alert, and some that must not."""
    done = run(program("promtool"), "test", "rules", RULES_TEST)
    assert done.returncode == 0, done.stdout
    tests = yaml.safe_load(RULES_TEST.read_text())["tests"]
    moments = [moment for test in tests for moment in test["alert_rule_test"]]
    for fires in (True, False):
        tested = {each["alertname"] for each in moments if bool(each.get("exp_alerts")) is fires}
        assert tested == set(ALERTS)


def test_the_test_of_the_alerts_can_fail(tmp_path: Path) -> None:
    """Without its rules it fails, once for each alert."""
    (tmp_path / RULES.name).write_text("groups: []\n")
    (tmp_path / RULES_TEST.name).write_text(RULES_TEST.read_text())
    done = run(program("promtool"), "test", "rules", tmp_path / RULES_TEST.name)
    assert done.returncode != 0
    assert set(re.findall(r"alertname: (\w+)", done.stdout)) == set(ALERTS)


def test_the_dashboard_s_queries_are_promql(tmp_path: Path) -> None:
    """Each query parses once Grafana has put in its variables."""
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    queries = [
        target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ]
    rules = [{"record": f"query:{number}", "expr": text} for number, text in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = run(program("promtool"), "check", "rules", file)
    assert done.returncode == 0, done.stdout
    assert f"{len(queries)} rules found" in done.stdout


def test_nginx_takes_its_site(tmp_path: Path) -> None:
    """`nginx -t` reads it inside `http { }`, with a certificate, and has nothing to remark."""
    made = make_certificate(tmp_path)
    site = (DEPLOY / "nginx-site.conf").read_text()
    for name, path in (("pem", made.authority), ("key", made.key)):
        site = site.replace(f"/etc/ssl/events.example.com.{name}", str(path))
    site = site.replace("/var/log/nginx", str(tmp_path))
    temporary = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = tmp_path / "nginx.conf"
    config.write_text(f"pid {tmp_path}/pid;\nevents {{ }}\nhttp {{\n{temporary}{site}}}\n")
    done = run(program("nginx"), "-t", "-e", tmp_path / "error.log", "-c", config)
    assert done.returncode == 0, done.stdout
    assert not re.search(r"\[(warn|error|alert|emerg)\]", done.stdout), done.stdout


def test_systemd_takes_its_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` reads it without a remark, and rates it as the documents say."""
    analyze = program("systemd-analyze")
    text = (DEPLOY / "bucket-brigade.service").read_text()
    unit = tmp_path / "bucket-brigade.service"
    # The checkout is not in /opt here.
    unit.write_text(re.sub("^ExecStart=.*", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    done = run(analyze, "verify", "--man=no", unit)
    assert (done.returncode, done.stdout) == (0, "")
    rated = run(analyze, "security", "--no-pager", "--offline=true", unit).stdout
    level = re.search(r"exposure level for bucket-brigade.service: (\S+) OK", rated)
    assert level, rated
    words = " ".join((ROOT / "docs/operations.md").read_text().split())
    assert f"exposure at {level[1]} of 10" in words


@pytest.mark.parametrize("name", ["statefulset.yaml", "queue-deployments.yaml"])
def test_kubernetes_takes_its_manifest(name: str) -> None:
    """Every resource has the shape that Kubernetes' schemas ask for, and no unknown field."""
    manifest = DEPLOY / name
    done = run(program("kubernetes-validate"), "--strict", manifest)
    assert done.returncode == 0, done.stdout
    resources = list(yaml.safe_load_all(manifest.read_text()))
    assert done.stdout.count(" passed for resource ") == len(resources)


COMPOSE = ("--builtin-schema", "vendor.compose-spec")


@pytest.mark.parametrize("name", ["compose.yaml", "compose-queue.yaml"])
def test_compose_takes_its_file(name: str, tmp_path: Path) -> None:
    """It is as the Compose Specification's schema asks for; a misspelt option is seen."""
    check = program("check-jsonschema")
    done = run(check, *COMPOSE, DEPLOY / name)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / name
    wrong.write_text((DEPLOY / name).read_text().replace("stop_grace_period", "stop_grace"))
    done = run(check, *COMPOSE, wrong)
    assert done.returncode == 1
    assert "stop_grace" in done.stdout
