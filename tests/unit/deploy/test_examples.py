"""deploy/: the examples agree with the settings, the documents and each other."""

import re
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # its types are a package of their own

from app.ingest.ways import EVENTS, PAYLOADS, WEBHOOKS
from workers.settings.settings import load_settings
from workers.upload.s3_errors import REASONS

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
OPERATIONS = (ROOT / "docs/operations.md").read_text()
SETTINGS = load_settings({"S3_BUCKET": "events"})
STOP_SECONDS = SETTINGS.request_seconds + SETTINGS.drain_seconds + 4
MIB = 1 << 20
UNITS = {"M": MIB, "Mi": MIB, "Gi": 1 << 30}
# What passes without anybody doing something.
TRANSIENT = {"throttled", "server", "network"}


def unit() -> dict[str, list[str]]:
    """Return the values of each directive of the systemd unit."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "bucket-brigade.service").read_text().splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def environment() -> dict[str, str]:
    """Return the environment that the systemd unit sets."""
    return dict(line.strip('"').split("=", 1) for line in unit()["Environment"])


def kind(name: str) -> dict[str, Any]:
    """Return the last Kubernetes resource of a kind."""
    resources = yaml.safe_load_all((DEPLOY / "statefulset.yaml").read_text())
    found: dict[str, dict[str, Any]] = {resource["kind"]: resource for resource in resources}
    return found[name]


def pod() -> dict[str, Any]:
    """Return the specification of the StatefulSet's pods."""
    spec: dict[str, Any] = kind("StatefulSet")["spec"]["template"]["spec"]
    return spec


def size(text: str) -> int:
    """Return a size with a unit in bytes."""
    number, unit_name = re.fullmatch(r"(\d+)(\w+)", text).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit_name]


def memory_at_the_defaults(processes: int) -> int:
    """Return what the documents say that a master and so many processes take at most."""
    master = re.search(r"master takes (\d+) MiB", OPERATIONS)
    process = re.search(r"that is (\d+) MiB in memory mode", OPERATIONS)
    assert master
    assert process
    return (int(master[1]) + processes * int(process[1])) * MIB


def test_the_unit_gives_the_stop_its_time() -> None:
    """SIGKILL comes after the service's own budget."""
    assert int(unit()["TimeoutStopSec"][0]) > STOP_SECONDS > SETTINGS.graceful_seconds


def test_the_unit_writes_only_where_systemd_made_a_directory() -> None:
    """Under ProtectSystem=strict, the spool and the heartbeat lie in the unit's own directories."""
    assert unit()["ProtectSystem"] == ["strict"]
    state = "/var/lib/" + unit()["StateDirectory"][0]
    assert environment()["SPOOL_DIR"].startswith(state + "/")
    assert unit()["RequiresMountsFor"] == [state]
    assert "/run/" + unit()["RuntimeDirectory"][0] in environment()["GUNICORN_CMD_ARGS"]


def test_the_unit_holds_the_memory_that_the_documents_count() -> None:
    """A process at the documented bound is not killed, and one that is ends only itself."""
    processes = int(environment()["WEB_CONCURRENCY"])
    assert size(unit()["MemoryMax"][0]) > memory_at_the_defaults(processes)
    assert unit()["OOMPolicy"] == ["continue"]


def test_the_unit_has_a_descriptor_for_all_that_needs_one() -> None:
    """The connections of two listening sockets and the open segments at the defaults."""
    config = (ROOT / "gunicorn.conf.py").read_text()
    connections = re.search(r"^worker_connections = (\d+)$", config, re.MULTILINE)
    assert connections
    assert int(unit()["LimitNOFILE"][0]) > 2 * int(connections[1]) + SETTINGS.max_streams


def test_the_pod_gives_the_stop_its_time() -> None:
    """Kubernetes counts the preStop hook in."""
    container = pod()["containers"][0]
    pause = float(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert pod()["terminationGracePeriodSeconds"] > pause + STOP_SECONDS


def test_the_pod_may_do_no_more_than_it_needs() -> None:
    """It passes Kubernetes' restricted Pod Security Standard, with a read-only root besides."""
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod()["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_pod_has_the_memory_that_the_documents_count() -> None:
    """The request covers the documented bound, the limit a reload with twice the processes."""
    values = {entry["name"]: entry.get("value") for entry in pod()["containers"][0]["env"]}
    needed = memory_at_the_defaults(int(values["WEB_CONCURRENCY"]))
    resources = pod()["containers"][0]["resources"]
    assert size(resources["requests"]["memory"]) > needed
    assert size(resources["limits"]["memory"]) > 2 * needed


def test_the_pod_writes_to_its_volume_and_the_volume_is_large_enough() -> None:
    """SPOOL_DIR is on the claim, which has a tenth more than SPOOL_MAX_BYTES."""
    container = pod()["containers"][0]
    values = {entry["name"]: entry.get("value") for entry in container["env"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    claim = kind("StatefulSet")["spec"]["volumeClaimTemplates"][0]
    assert values["SPOOL_DIR"].startswith(mounts[claim["metadata"]["name"]] + "/")
    storage = size(claim["spec"]["resources"]["requests"]["storage"])
    assert storage > 1.1 * int(values["SPOOL_MAX_BYTES"])


def test_the_image_runs_as_the_user_that_the_pod_names() -> None:
    """Also as a number, which `runAsNonRoot` needs."""
    user = re.search(r"^USER (\d+):(\d+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    context = pod()["securityContext"]
    assert user
    assert [int(user[1]), int(user[2])] == [context["runAsUser"], context["runAsGroup"]]


def test_each_reason_of_a_failed_put_that_needs_an_operator_pages() -> None:
    """A reason that is not known to pass by itself is in the alert, and in its documentation."""
    selector = re.compile(r'put_failures_total\{reason=~?"([^"]+)"')
    for name in ("deploy/prometheus-rules.yml", "docs/operations.md"):
        text = (ROOT / name).read_text().replace("\\|", "|")
        found = {reason for words in selector.findall(text) for reason in words.split("|")}
        assert found == set(REASONS) - TRANSIENT, name


def test_the_alerts_are_those_of_the_documents() -> None:
    """Each metric that the table of alerts watches has a rule, and no rule watches another."""
    table = OPERATIONS.partition("| alert |")[2].partition("\n\n")[0]
    rules = (DEPLOY / "prometheus-rules.yml").read_text()
    metric = re.compile(r"bucket_brigade_\w+")
    assert set(metric.findall(table)) == set(metric.findall(rules))


def test_nginx_takes_bodies_as_large_as_the_service() -> None:
    """A larger limit would pass on what is refused; a smaller one refuses what is allowed."""
    limit = re.search(r"client_max_body_size (\d+)m;", (DEPLOY / "nginx-site.conf").read_text())
    assert limit
    assert int(limit[1]) * MIB == SETTINGS.max_body_bytes


def test_nginx_passes_every_way_on() -> None:
    """What takes payloads has a location; paths that only begin alike do not."""
    config = (DEPLOY / "nginx-site.conf").read_text()
    expressions = re.findall(r"^    location ~ (\S+) \{$", config, re.MULTILINE)
    prefixes = re.findall(r"^    location (/\S*) \{$", config, re.MULTILINE)

    def is_passed(path: str) -> bool:
        named = [prefix for prefix in prefixes if prefix != "/"]
        return any(re.search(each, path) for each in expressions) or path.startswith(tuple(named))

    ways = [PAYLOADS, PAYLOADS + "/a", EVENTS, EVENTS + "/a", WEBHOOKS + "github", "/receipts/1"]
    assert all(map(is_passed, ways))
    assert not any(map(is_passed, ("/metrics", "/stats", "/healthz", "/eventsource", "/x/events")))


def test_nginx_logs_no_key() -> None:
    """A page's key is in the query string, which `$request` and its like would log."""
    config = (DEPLOY / "nginx-site.conf").read_text()
    logged = re.search(r"^log_format brigade (.*?);$", config, re.MULTILINE | re.DOTALL)
    assert logged
    assert not re.search(r"\$(request|request_uri|args|query_string|arg_\w+)\b", logged[1])
    assert re.findall(r"^ *access_log .* (\w+);$", config, re.MULTILINE) == ["brigade"]
    assert re.findall(r"^ *error_log .* (\w+);$", config, re.MULTILINE) == ["crit"]


def test_the_unit_carries_the_access_file_as_a_credential() -> None:
    """ACCESS_FILE is where systemd puts the credential of that name."""
    name, _, source = unit()["LoadCredential"][0].partition(":")
    assert environment()["ACCESS_FILE"] == f"/run/credentials/bucket-brigade.service/{name}"
    assert source.startswith("/etc/bucket-brigade/")


def test_the_pod_carries_the_access_file_as_a_secret() -> None:
    """It is on a Secret's volume that the pod's group can read, and that follows changes."""
    container = pod()["containers"][0]
    path = next(entry["value"] for entry in container["env"] if entry["name"] == "ACCESS_FILE")
    mount = next(each for each in container["volumeMounts"] if each["name"] == "access")
    volume = next(each for each in pod()["volumes"] if each["name"] == "access")
    assert Path(path).parent == Path(mount["mountPath"])
    assert mount["readOnly"] is True
    assert "subPath" not in mount
    assert volume["secret"]["defaultMode"] == 0o440
    assert pod()["securityContext"]["fsGroup"] == pod()["securityContext"]["runAsGroup"]


def test_the_image_s_example_mounts_the_access_file_s_directory() -> None:
    """A mount of the file alone would keep the first one when it is replaced."""
    text = (DEPLOY / "Dockerfile").read_text()
    path = re.search(r"-e ACCESS_FILE=(\S+)", text)
    assert path
    directory = Path(path[1]).parent
    assert f"-v {directory}:{directory}:ro" in text
