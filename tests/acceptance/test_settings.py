"""Wrong settings: one clear message with every mistake, a failing exit status, and no open port."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.service import ServiceFactory, executed
from tests.support import ROOT, wait_until
from tests.support.s3 import FakeS3
from tests.support.service import Service

START_SECONDS = 20.0

launch = executed()


def refuses_to_start(service: Service) -> str:
    """Start a service that must not start; return what it says.

    Raises:
        AssertionError: it started, or ended as if all were well, or spoke in tracebacks.
    """
    service.start()
    assert service.wait(START_SECONDS) not in {0, None}
    said = service.log_path.read_text()
    assert "Listening at" not in said
    assert "Booting worker" not in said
    assert "Traceback" not in said
    assert not service.processes()
    # This is for a person at a terminal; the log has not begun.
    service.log_path.write_text("")
    return said


def test_all_mistakes_are_named_at_once(service_factory: ServiceFactory) -> None:
    """Every mistake of every kind is in the one message, each setting once."""
    wrong: dict[str, Any] = {
        "S3_BUCKET": "Not_A_Bucket",
        "MAX_WORKERS": "many",
        "MAX_QUEUE": 0,
        "OBJECT_MAX_AGE_SECONDS": -1,
        "COMPRESSION": "lzma",
        "DURABILITY": "paper",
        "LINE_FORMAT": "xml",
        "KEY_TEMPLATE": "{stream}/{nonsense}",
        "LOG_LEVEL": "loud",
        "WEB_CONCURRENCY": 0,
    }
    said = refuses_to_start(service_factory.make(**wrong))
    assert said.count("bucket-brigade: ") == 1
    assert {name: said.count(f"  {name}: ") for name in wrong} == dict.fromkeys(wrong, 1)


def test_a_bucket_is_required(service_factory: ServiceFactory) -> None:
    """Without S3_BUCKET nothing starts; a blank one is none."""
    assert "S3_BUCKET: must be set" in refuses_to_start(service_factory.make(S3_BUCKET=""))


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("nowhere:Schema", "cannot import"),
        ("json:Nothing", "no marshmallow Schema class 'Nothing'"),
        ("json:JSONDecoder", "no marshmallow Schema class 'JSONDecoder'"),
        ("just-a-name", "package.module:SchemaClass"),
    ],
)
def test_a_schema_that_is_none_is_refused(
    service_factory: ServiceFactory, schema: str, why: str
) -> None:
    """`PAYLOAD_SCHEMA` is looked up before a port opens."""
    assert why in refuses_to_start(service_factory.make(PAYLOAD_SCHEMA=schema))


def test_flask_names_a_schema_that_is_none(tmp_path: Path, s3: FakeS3) -> None:
    """`flask check` speaks of it as gunicorn's start does, before it tries anything."""
    environ = Service(tmp_path, s3, settings={"PAYLOAD_SCHEMA": "nowhere:Schema"}).environ()
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "check"]
    ran = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 1
    assert "PAYLOAD_SCHEMA: cannot import 'nowhere'" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_spool_that_cannot_be_is_refused(
    service_factory: ServiceFactory, durability: str, tmp_path: Path
) -> None:
    """SPOOL_DIR that is a file, or lies under one, is named with the reason, in either mode."""
    file = tmp_path / "file"
    file.write_text("not a directory")
    for directory in (file, file / "spool"):
        service = service_factory.make(SPOOL_DIR=directory, DURABILITY=durability)
        said = refuses_to_start(service)
        assert f"SPOOL_DIR {directory} cannot be used: " in said
    assert file.read_text() == "not a directory"


def test_a_spool_is_locked_without_its_lock_file(
    service_factory: ServiceFactory, tmp_path: Path
) -> None:
    """The directory itself is locked: what became of the file of older versions does not matter."""
    (tmp_path / "spool" / "lock").mkdir(parents=True)
    service = service_factory.start(SPOOL_DIR=tmp_path / "spool")
    assert service.post("/payloads", [{}]).status == 202


def test_a_time_budget_that_breaks_the_promise_is_refused(service_factory: ServiceFactory) -> None:
    """A graceful_timeout too short for a drain would be a SIGKILL in its middle."""
    service = service_factory.make(GUNICORN_CMD_ARGS="--graceful-timeout 3")
    assert "graceful_timeout" in refuses_to_start(service)


def test_gunicorn_s_settings_can_be_overridden(service_factory: ServiceFactory) -> None:
    """GUNICORN_CMD_ARGS wins over our defaults where it breaks nothing."""
    service = service_factory.start(GUNICORN_CMD_ARGS="--threads 2 --workers 3")
    wait_until(lambda: len(service.children()) == 3, timeout=50, what="three processes")
    assert service.post("/payloads", [{}]).status == 202


def test_blank_settings_are_unset(service_factory: ServiceFactory) -> None:
    """`NAME=`, as compose files write it, means the default."""
    service = service_factory.start(MAX_QUEUE="", COMPRESSION=" ", PAYLOAD_SCHEMA="")
    assert service.post("/payloads", [{}]).status == 202
