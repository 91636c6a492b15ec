"""The access file from start to change: mistakes, a new key, a running service, the commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.cli import FlaskGroup

from app.factory import create_app
from tests.acceptance.access.client import Client, sha256
from tests.acceptance.service import ServiceFactory
from tests.support import ROOT, wait_until
from tests.support.bench import settings_for
from tests.support.processes import free_port
from tests.support.s3 import FakeS3
from workers.pipeline import Pipeline

KEY = '[keys.{name}]\nsha256 = ["{digest}"]\n'


def write(path: Path, *names: str) -> None:
    """Replace the access file by one with keys of these names; a key is its name."""
    new = path.with_suffix(".new")
    new.write_text("".join(KEY.format(name=name, digest=sha256(name)) for name in names))
    os.replace(new, path)


def test_a_wrong_file_ends_the_start(service_factory: ServiceFactory, tmp_path: Path) -> None:
    """Every mistake is named with its place, and no port opens."""
    path = tmp_path / "access.toml"
    path.write_text('[keys.a]\nsha256 = ["x"]\n[webhooks.w]\nscheme = "x"\n')
    service = service_factory.make(ACCESS_FILE=path)
    service.start()
    assert service.wait(20) == 1
    said = service.log_path.read_text()
    # This is for a person at a terminal; the log has not begun.
    service.log_path.write_text("")
    assert "Listening at" not in said
    assert "  keys.a.sha256.0: " in said
    assert "  webhooks.w.scheme: " in said


def test_a_change_is_picked_up_and_a_mistake_is_not(
    service_factory: ServiceFactory, s3: FakeS3, tmp_path: Path
) -> None:
    """Every process takes a new key and forgets an old one; a wrong file changes nothing."""
    path = tmp_path / "access.toml"
    write(path, "old")
    service = service_factory.make(ACCESS_FILE=path, WEB_CONCURRENCY=2)
    service_factory.expect_errors("access file wrong")
    service.start()
    service.wait_ready()
    client = Client(service, s3, path)

    def statuses(key: str) -> set[int]:
        return {client.post("/payloads", [{}], key).status for _ in range(8)}

    assert statuses("old") == {202}
    write(path, "new")
    wait_until(lambda: statuses("new") == {202}, timeout=20, what="the new key")
    wait_until(lambda: statuses("old") == {401}, timeout=20, what="the end of the old key")
    path.write_text("[keys")
    wait_until(
        lambda: (
            statuses("new") == {202}
            and any(event["event"] == "access file wrong" for event in service.logs().events)
        ),
        timeout=20,
        what="the mistake in the log",
    )


@pytest.mark.parametrize(("bind", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_an_open_port_is_warned_of_once(
    service_factory: ServiceFactory, bind: str, *, warned: bool
) -> None:
    """A service that others reach without a key says so, once, not once for each process."""
    service = service_factory.make("--bind", f"{bind}:{free_port()}", WEB_CONCURRENCY=2)
    service.start()
    service.wait_ready()
    events = [event["event"] for event in service.logs().events]
    assert sum(event.startswith("open to everyone") for event in events) == int(warned)


def run_process(directory: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `flask keys` as a process."""
    return subprocess.run(
        [sys.executable, "-m", "flask", "keys", *words], cwd=ROOT, text=True,
        capture_output=True, check=False, timeout=50,
        env={"PATH": os.environ["PATH"], "S3_BUCKET": "events", "AWS_REGION": "eu-west-1",
             "SPOOL_DIR": str(directory / "spool"), **environ},
    )  # fmt: skip


def run_here(directory: Path, *words: str, given: str, **access: Path) -> Result:
    """Run `flask keys` in this process; it may start no pipeline."""

    def no_pipeline() -> Pipeline:
        raise AssertionError("a command started a pipeline")

    settings = settings_for(directory / "spool", **access)
    group = FlaskGroup(create_app=lambda: create_app(settings, pipeline=no_pipeline))
    return CliRunner().invoke(group, ["keys", *words], input=given)


def test_keys_are_made_and_checked_by_command(tmp_path: Path) -> None:
    """`flask keys new` prints a key, and TOML by which `flask keys check` knows it again."""
    made = run_process(tmp_path, "new", "mobile", "--streams", "mobile-*")
    path = tmp_path / "access.toml"
    path.write_text(made.stderr)
    key = made.stdout.strip()
    assert len(key) > 43
    assert key not in made.stderr

    def flask(*words: str, given: str = "", **access: Path) -> Result:
        return run_here(tmp_path, *words, given=given, **access)

    assert flask("check", ACCESS_FILE=path).stdout.startswith("ok: 1 keys")
    assert (
        flask("check", "--key", given=key, ACCESS_FILE=path).stdout == "mobile  write  mobile-*\n"
    )
    assert flask("check", "--key", given="other", ACCESS_FILE=path).exit_code == 1
    assert "mobile  write  mobile-*  sha256 " in flask("list", ACCESS_FILE=path).stdout
    assert flask("list").exit_code == 1
    page = flask("new", "page", "--streams", "web-*, default", "--streams", "x", "--url")
    assert 'streams = ["web-*", "default", "x"]\nurl = true\n' in page.stderr
    assert "pattern" in flask("new", "page", "--streams", "WEB").stderr
    assert "write" in flask("new", "page", "--scope", "read", "--url").stderr
    path.write_text("[keys.mobile]\n")
    wrong = run_process(tmp_path, "check", ACCESS_FILE=str(path))
    assert wrong.returncode != 0
    assert "keys.mobile.sha256" in wrong.stderr
