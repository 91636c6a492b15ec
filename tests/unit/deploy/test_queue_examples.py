"""The examples of a web tier and a worker tier are what the service and its documents say."""

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # its types are a package of their own

from workers.queue.redis_health import doubts, evicts
from workers.settings.settings import Settings, load_settings

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose-queue.yaml").read_text())
# What comes from secrets, and from files beside the example.
GIVEN = {"QUEUE_URL": "redis://redis", "RECEIPT_SECRET": "s", "S3_BUCKET": "events"}


def tiers() -> dict[str, dict[str, Any]]:
    """Return the Deployments of the Kubernetes example by their names."""
    resources = yaml.safe_load_all((DEPLOY / "queue-deployments.yaml").read_text())
    return {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]
        for one in resources
        if one["kind"] == "Deployment"
    }


def settings_of(container: dict[str, Any]) -> Settings:
    """Load the settings that a container gets."""
    given = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    return load_settings({**GIVEN, **given})


def test_each_tier_has_its_role() -> None:
    """One accepts and one uploads, both on the queue, and both examples say the same."""
    pods = tiers()
    roles = {name: settings_of(pod["containers"][0]).role for name, pod in pods.items()}
    assert roles == {"bucket-brigade-web": "web", "bucket-brigade-worker": "worker"}
    for role in ("web", "worker"):
        service = COMPOSE["services"][role]
        settings = load_settings({**GIVEN, **service["environment"]})
        assert (settings.role, settings.durability) == (role, "queue")


def test_no_tier_has_a_disk() -> None:
    """The root is read-only, and there is no volume but for secrets and what is temporary."""
    for pod in tiers().values():
        assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
        kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"emptyDir", "secret"}
    for role in ("web", "worker"):
        assert COMPOSE["services"][role]["read_only"]
        mounts = COMPOSE["services"][role].get("volumes", [])
        assert all(mount.endswith(":ro") for mount in mounts)


def test_the_web_tiers_have_an_access_file() -> None:
    """They face the internet: the directory is mounted, so that a change of the file is seen."""
    web = COMPOSE["services"]["web"]
    [mount] = web["volumes"]
    assert web["environment"]["ACCESS_FILE"].startswith(mount.split(":")[1] + "/")
    container = tiers()["bucket-brigade-web"]["containers"][0]
    [file] = [each["value"] for each in container["env"] if each["name"] == "ACCESS_FILE"]
    assert any(file.startswith(each["mountPath"] + "/") for each in container["volumeMounts"])


def test_only_workers_have_the_bucket_s_role() -> None:
    """The web tier faces the internet: it has no credentials that a worker has."""
    web, worker = tiers()["bucket-brigade-web"], tiers()["bucket-brigade-worker"]
    assert web["serviceAccountName"] != worker["serviceAccountName"]
    assert COMPOSE["services"]["web"]["env_file"] == "brigade.env"


def test_the_stop_has_its_time() -> None:
    """SIGKILL comes after the service's own budget."""
    for pod in tiers().values():
        settings = settings_of(pod["containers"][0])
        assert pod["terminationGracePeriodSeconds"] > settings.graceful_seconds + 5


def test_the_server_keeps_what_it_is_given() -> None:
    """Redis is configured so that the service has nothing against it."""
    words = COMPOSE["services"]["redis"]["command"].split()
    config = {words[i].removeprefix("--"): words[i + 1] for i in range(1, len(words) - 1)}
    assert doubts(config) == []
    assert evicts(config) is None
