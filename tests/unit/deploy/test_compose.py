"""deploy/compose.yaml: it runs the image as the Dockerfile and the documents say."""

import re
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # its types are a package of their own

from workers.settings.settings import load_settings

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
SERVICE: dict[str, Any] = COMPOSE["services"]["bucket-brigade"]


def test_it_builds_the_image_of_the_dockerfile() -> None:
    """The context is the top of the checkout, which the Dockerfile copies from."""
    directory = ROOT / "deploy" / SERVICE["build"]["context"]
    assert directory.resolve() == ROOT
    assert (directory / SERVICE["build"]["dockerfile"]).exists()
    for source in re.findall(r"^COPY (\S+)", DOCKERFILE, re.MULTILINE):
        assert (directory / source).exists()


def test_a_build_gets_what_it_copies_and_no_more() -> None:
    """The list beside the Dockerfile lets in its sources, and neither a spool nor git's files."""
    lines = (ROOT / "deploy/Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {line[1:] for line in rules if line.startswith("!")}
    copied = re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert let_in == {source for sources in copied for source in sources.split()}


def test_the_stop_has_its_time() -> None:
    """Docker's SIGKILL comes after the service's own budget."""
    settings = load_settings({"S3_BUCKET": "events"})
    needed = settings.request_seconds + settings.drain_seconds + 4
    assert int(SERVICE["stop_grace_period"].removesuffix("s")) > needed


def test_it_may_do_no_more_than_it_needs() -> None:
    """A read-only root, no capability, and one volume, which the spool is on."""
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"]
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]
    assert f"spool:{re.findall('SPOOL_DIR=(.+?) ', DOCKERFILE)[0]}" in SERVICE["volumes"]
    assert set(COMPOSE["volumes"]) == {"spool"}


def test_it_has_the_memory_that_the_documents_count() -> None:
    """The master and its processes at the documented bound are not killed."""
    master = re.search(r"master takes (\d+) MiB", OPERATIONS)
    process = re.search(r"that is (\d+) MiB in memory mode", OPERATIONS)
    assert master
    assert process
    processes = int(SERVICE["environment"]["WEB_CONCURRENCY"])
    needed = int(master[1]) + processes * int(process[1])
    assert int(SERVICE["mem_limit"].removesuffix("m")) >= needed


def test_only_this_machine_reaches_its_port() -> None:
    """The port is the image's, on loopback, for a proxy."""
    port = re.findall(r"PORT=(\d+)", DOCKERFILE)[0]
    assert SERVICE["ports"] == [f"127.0.0.1:{port}:{port}"]
