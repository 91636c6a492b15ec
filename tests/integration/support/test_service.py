"""The service's processes, as tests start, kill and reap them."""

import os
import random
import signal
from pathlib import Path

import pytest

from tests.support import wait_until
from tests.support.launch import Launch
from tests.support.launch.execute import execute
from tests.support.launch.fork import fork
from tests.support.s3 import FakeS3
from tests.support.service import Service

APP = """
import json, os, sys
print("plain words", json.dumps([1]), sep="\\n", flush=True)
print(json.dumps({"event": "started"}), flush=True)

def app(environ, start_response):
    said = {"path": environ["PATH_INFO"], "env": dict(os.environ)}
    said["sent"] = environ["wsgi.input"].read().decode()
    start_response("200 OK", [("X-Pid", str(os.getpid()))])
    return [json.dumps(said).encode()]
"""


@pytest.fixture(params=[execute, fork])
def launch(request: pytest.FixtureRequest) -> Launch:
    """Start them in each way in turn: a test sees no difference."""
    way: Launch = request.param
    return way


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write the smallest service that gunicorn can run."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "wsgi.py").write_text(APP)
    (root / "gunicorn.conf.py").write_text("workers = 2\ncontrol_socket_disable = True\n")
    return root


def test_the_service_runs_in_a_clean_environment(
    s3: FakeS3, tmp_path: Path, root: Path, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows its settings and the fake S3, and nothing of the shell that runs the tests."""
    monkeypatch.setenv("MAX_QUEUE", "17")
    monkeypatch.setenv("AWS_PROFILE", "somebody")
    with Service(tmp_path, s3, settings={"MAX_WORKERS": 3}, root=root, launch=launch) as service:
        seen = service.get("/x").json()["env"]
        assert service.environ().items() <= seen.items()
        assert seen["MAX_WORKERS"] == "3"
        assert seen["AWS_ENDPOINT_URL_S3"] == s3.endpoint
        assert not {"MAX_QUEUE", "AWS_PROFILE"} & seen.keys()
        assert service.post("/y", {"a": 1}).json()["sent"] == '{"a": 1}'
        assert service.post("/y", b"\n").json()["sent"] == "\n"
        assert service.wait_stats(lambda stats: stats["path"] == "/stats")
        assert service.rss_bytes() > 10_000_000


def test_a_killed_child_is_replaced_and_a_stop_is_clean(
    s3: FakeS3, tmp_path: Path, root: Path, launch: Launch
) -> None:
    """The signals reach who they are meant for, and the service may be started again."""
    with Service(tmp_path, s3, root=root, launch=launch) as service:
        wait_until(lambda: len(service.children()) == 2, timeout=50, what="two children")
        killed = service.kill_random_child(random.Random(1))
        wait_until(lambda: len(service.children()) == 2, timeout=50, what="its replacement")
        assert killed not in service.children()
        assert service.pid not in service.children()
        service.terminate()
        assert service.wait(10) == 0
        service.start()
        service.wait_ready()
        logs = service.logs()
        assert logs.events.count({"event": "started"}) >= 4
        assert {"plain words", "[1]"} <= set(logs.raw)


def test_no_process_outlives_its_service(
    s3: FakeS3, tmp_path: Path, root: Path, launch: Launch
) -> None:
    """Not even orphans: with the master killed first, its children are found and reaped."""
    with Service(tmp_path, s3, root=root, launch=launch) as service:
        wait_until(lambda: len(service.children()) == 2, timeout=50, what="two children")
        children = service.children()
        # A stopped orphan cannot notice that its master has gone, and end by itself.
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        service.signal(signal.SIGKILL)
        assert service.wait(10) == -signal.SIGKILL
        assert service.processes() == children
    assert service.processes() == []


def test_a_service_that_does_not_start_says_why(
    s3: FakeS3, tmp_path: Path, root: Path, launch: Launch
) -> None:
    """The failure quotes the log, and nothing is left running."""
    (root / "wsgi.py").write_text("raise ValueError('no settings today')")
    service = Service(tmp_path, s3, root=root, launch=launch)
    with pytest.raises(AssertionError, match="no settings today"):
        service.__enter__()
    assert service.processes() == []
