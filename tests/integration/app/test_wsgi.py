"""The composition root: one pipeline a process."""

import importlib
import logging
import logging.config
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.s3 import FakeS3
from workers.settings.settings import process_settings


@pytest.fixture
def wsgi(s3: FakeS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Import the composition root as a process does, with an environment of its own."""
    for name, value in {
        "S3_BUCKET": s3.bucket,
        "SPOOL_DIR": str(tmp_path / "spool"),
        "MAX_WORKERS": "1",
        "OBJECT_MAX_AGE_SECONDS": "0.02",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(logging.config, "dictConfig", lambda _: None)
    sys.modules.pop("wsgi", None)
    process_settings.cache_clear()
    module = importlib.import_module("wsgi")
    yield module
    sys.modules.pop("wsgi", None)
    process_settings.cache_clear()
    pipeline = module.pipelines._pipeline
    if pipeline is not None:
        pipeline.stop()
        pipeline.bucket.close()


def test_a_process_has_one_pipeline(wsgi: ModuleType, s3: FakeS3) -> None:
    """It starts with the first request that needs it, and the stop stores what is there."""
    assert wsgi.pipelines._pipeline is None
    wsgi.pipelines.stop()
    answer = wsgi.app.test_client().post("/payloads", json=[{}])
    assert answer.status_code == 202
    assert wsgi.pipelines.get() is wsgi.pipelines.get()
    wsgi.pipelines.stop()
    assert len(s3.lines()) == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_gets_a_pipeline_of_its_own(wsgi: ModuleType) -> None:
    """Threads do not survive a fork: a child never uses, or stops, its parent's pipeline."""
    parent = wsgi.pipelines.get()
    child = os.fork()
    if not child:
        # Nothing else: of the parent's threads none is here, and any lock may be one of theirs.
        wsgi.pipelines.stop()
        os._exit(0 if wsgi.pipelines._pipeline is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert parent.refusal() is None
    assert wsgi.pipelines.get() is parent
    parent.stop()
    parent.bucket.close()


def test_wrong_settings_end_the_process(wsgi: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mistake is named, without a traceback, and nothing is started."""
    del wsgi
    sys.modules.pop("wsgi")
    process_settings.cache_clear()
    monkeypatch.setenv("MAX_QUEUE", "many")
    monkeypatch.setenv("DURABILITY", "paper")
    with pytest.raises(SystemExit) as caught:
        importlib.import_module("wsgi")
    assert "MAX_QUEUE" in str(caught.value)
    assert "DURABILITY" in str(caught.value)
