"""The application over a real pipeline: what a client, a probe and Prometheus are told."""

import importlib
import io
import json
import logging
import logging.config
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

from app.factory import create_app
from app.routes import receipts
from tests.support import wait_until
from tests.support.bench import settings_for
from tests.support.s3 import FakeS3, Fault
from workers.dispatch import backoff
from workers.pipeline import Pipeline
from workers.upload.s3 import Bucket


class Service:
    """An application and its pipeline."""

    def __init__(self, spool: Path, *, bucket: Bucket, **environ: object) -> None:
        given = {"OBJECT_MAX_AGE_SECONDS": 0.02, "DRAIN_SECONDS": 5, "MAX_WORKERS": 2, **environ}
        settings = settings_for(spool, **given)
        self.pipeline = Pipeline(settings, bucket=bucket)
        self.pipeline.start()
        self.app = create_app(settings, pipeline=lambda: self.pipeline)
        self.client = self.app.test_client()

    def post(self, value: object, path: str = "/payloads", **headers: str) -> TestResponse:
        """Post a value as JSON."""
        sent = {"Content-Type": "application/json", **headers}
        return self.client.post(path, data=json.dumps(value), headers=sent)

    def stats(self) -> dict[str, Any]:
        """Ask for /stats."""
        said: dict[str, Any] = self.client.get("/stats").get_json()
        return said

    def until(self, **figures: int) -> None:
        """Wait until /stats says so."""
        wait_until(
            lambda: figures.items() <= self.stats().items(), timeout=10, what=f"stats {figures}"
        )


Start = Callable[..., Service]


@pytest.fixture
def start(
    tmp_path: Path, s3: FakeS3, real_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Start]:
    """Start services on one spool and one bucket; stop them all."""
    monkeypatch.setattr(backoff, "BASE_SECONDS", 0.02)
    started: list[Service] = []

    def start(spool: Path = tmp_path / "spool", **environ: object) -> Service:
        service = Service(spool, bucket=real_bucket, **{"S3_BUCKET": s3.bucket, **environ})
        started.append(service)
        return service

    yield start
    s3.listen_again()
    s3.clear()
    for service in started:
        service.pipeline.stop()


def problem(answer: TestResponse) -> dict[str, Any]:
    """Read a problem document and see that it is one."""
    assert answer.content_type == "application/problem+json"
    said: dict[str, Any] = answer.get_json()
    assert said["status"] == answer.status_code
    assert said["type"] == "about:blank"
    return said


# --- Payloads and receipts ------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["disk", "memory"])
def test_from_a_post_to_the_object(start: Start, s3: FakeS3, durability: str) -> None:
    """A 202 says where, its Location can be followed, and the object holds what was sent."""
    service = start(DURABILITY=durability)
    answer = service.post({"payloads": [{"n": 1}, {"n": 2}]}, "/payloads/clicks")
    assert answer.status_code == 202
    said = answer.get_json()
    assert (said["accepted"], said["durability"]) == (2, durability)
    [receipt] = said["receipts"]
    assert answer.headers["Location"] == f"/receipts/{receipt['id']}"
    service.until(stored=2, pending=0)
    status = service.client.get(answer.headers["Location"]).get_json()
    assert {**receipt, "state": "stored"}.items() <= status.items()
    [(key, first, line), (_, _, second)] = s3.lines()
    assert f"s3://{s3.bucket}/{key}" == receipt["object"]
    assert (first, line, second) == (1, b'{"n": 1}', b'{"n": 2}')


def test_a_receipt_through_its_states(start: Start, s3: FakeS3, tmp_path: Path) -> None:
    """Accepted while open, dead with its reason, and the same from another service."""
    s3.faults(Fault(kind="error", status=400, code="EntityTooLarge", times=1))
    service = start(OBJECT_MAX_AGE_SECONDS=1000)
    where = service.post([{}]).headers["Location"]
    elsewhere = start(tmp_path / "elsewhere")
    assert service.client.get(where).get_json()["state"] == "accepted"
    assert elsewhere.client.get(where).get_json()["state"] == "accepted"
    service.pipeline.stop()
    for each in (start(), elsewhere):
        said = each.client.get(where).get_json()
        assert said["state"] == "dead"
        assert "EntityTooLarge" in said["reason"]


def test_a_bent_receipt_is_a_404(start: Start) -> None:
    """What nobody was given is not found, whatever S3 holds."""
    service = start()
    where = service.post([{}]).headers["Location"]
    for bent in (where[:-1] + ("0" if where[-1] != "0" else "1"), where + "0", "/receipts/x"):
        answer = service.client.get(bent)
        assert answer.status_code == 404
        assert problem(answer)["detail"] == "There is no such receipt."


def test_a_receipt_of_another_machine_with_s3_away(
    start: Start, s3: FakeS3, tmp_path: Path
) -> None:
    """What is not known here and cannot be asked for is a 503, not a guess."""
    service, elsewhere = start(), start(tmp_path / "elsewhere")
    where = service.post([{}]).headers["Location"]
    service.until(stored=1)
    s3.faults(Fault(kind="error", methods=["HEAD", "GET"]))
    answer = elsewhere.client.get(where)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert "S3 does not answer" in problem(answer)["detail"]


def test_an_overload_is_a_503_and_passes(start: Start, s3: FakeS3) -> None:
    """With S3 stuck and the queue full: a 503 with Retry-After, not ready; then all is well."""
    s3.faults(Fault(kind="hang"))
    service = start(MAX_WORKERS=1, MAX_QUEUE=1, OBJECT_MAX_PAYLOADS=1)
    service.post([{}])
    service.until(idle_workers=0)
    assert [service.post([{}]).status_code for _ in range(3)] == [202, 202, 503]
    answer = service.post([{}])
    assert int(answer.headers["Retry-After"]) >= 1
    assert "queue is full" in problem(answer)["detail"]
    assert service.client.get("/readyz").status_code == 503
    s3.clear()
    service.until(stored=3, pending=0)
    assert service.client.get("/readyz").status_code == 200
    assert service.post([{}]).status_code == 202


def test_look_ups_leave_threads_for_payloads(
    start: Start, s3: FakeS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While S3 hangs, some receipts wait for it and the others are refused; payloads come in."""
    monkeypatch.setattr(receipts, "PLACE_SECONDS", 0)
    service, elsewhere = start(), start(tmp_path / "elsewhere")
    where = service.post([{}]).headers["Location"]
    service.until(stored=1)
    before = s3.counts().faults.get("hang", 0)
    s3.faults(Fault(kind="hang", methods=["HEAD"]))
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(lambda: elsewhere.app.test_client().get(where)) for _ in range(2)]
        s3.wait_until(lambda counts: counts.faults.get("hang", 0) == before + 2)
        refused = elsewhere.client.get(where)
        accepted = elsewhere.post([{}])
        s3.clear()
        assert [each.result().get_json()["state"] for each in waiting] == ["stored"] * 2
    assert refused.status_code == 503
    assert "S3 is slow" in problem(refused)["detail"]
    assert accepted.status_code == 202
    assert elsewhere.client.get(where).status_code == 200


# --- Bodies, as servers hand them over ------------------------------------------------------------


class BrokenInput(io.BytesIO):
    """What a server reads a body from that breaks off."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def read(self, *_: object) -> bytes:
        raise self._error


@pytest.mark.parametrize(
    ("body", "environ", "status"),
    [
        (io.BytesIO(b"[{}]"), {"CONTENT_LENGTH": "4"}, 202),
        (io.BytesIO(b"[{}]"), {"CONTENT_LENGTH": "5"}, 408),
        (io.BytesIO(b"[{}]"), {"CONTENT_LENGTH": "2000"}, 413),
        (io.BytesIO(b"[{}]"), {"CONTENT_LENGTH": "1000000"}, 413),
        (io.BytesIO(b"[{}]"), {"wsgi.input_terminated": True}, 202),
        (io.BytesIO(b"[{}]" + b" " * 2000), {"wsgi.input_terminated": True}, 413),
        (io.BytesIO(b'{"n":1}\n' * 500), {"wsgi.input_terminated": True}, 413),
        (io.BytesIO(b"[{}]"), {}, 400),
        (BrokenInput(TimeoutError()), {"CONTENT_LENGTH": "4"}, 408),
        (BrokenInput(ValueError()), {"wsgi.input_terminated": True}, 400),
    ],
)
def test_a_body_is_whole_or_refused(
    start: Start, *, body: io.BytesIO, environ: dict[str, Any], status: int
) -> None:
    """Cut short, too long or broken, by length or by chunks: no part is taken for the whole."""
    body.seek(0)
    service = start(MAX_BODY_BYTES=1024)
    content_type = "application/x-ndjson" if b"n" in body.getvalue() else "application/json"
    answer = service.client.post(
        "/payloads",
        environ_overrides={"wsgi.input": body, "CONTENT_TYPE": content_type, **environ},
    )
    assert answer.status_code == status
    assert service.stats()["accepted"] == (1 if status == 202 else 0)


# --- Probes and figures ---------------------------------------------------------------------------


def test_ready_until_the_stop(start: Start) -> None:
    """Alive all the time; ready until the stop; then each refusal says why, and when to return."""
    service = start()
    assert service.client.get("/healthz").get_json() == {"status": "alive"}
    assert service.client.get("/readyz").get_json() == {"status": "ready"}
    service.pipeline.stop()
    assert service.client.get("/healthz").status_code == 200
    for answer in (service.client.get("/readyz"), service.post([{}])):
        assert answer.status_code == 503
        assert "stopping" in problem(answer)["detail"]
        assert int(answer.headers["Retry-After"]) >= 1
    assert service.stats()["accepted"] == 0


def test_the_figures_are_of_the_whole_service(start: Start, s3: FakeS3) -> None:
    """Any process tells of all of them, those that are gone included."""
    one, two = start(), start()
    one.post([{}, {}])
    two.post([{}])
    one.until(stored=3)
    assert one.stats().items() >= {"accepted": 3, "pending": 0, "dead": 0}.items()
    one.until(idle_workers=4)
    one.pipeline.stop()
    two.until(accepted=3, stored=3, idle_workers=2, queue_depth=0)
    s3.faults(Fault(kind="error"))
    two.post([{}])
    two.until(accepted=4, stored=3, pending=1)
    assert 0 < two.stats()["oldest_unstored_seconds"] < 60
    assert two.stats()["held_bytes"] > 0
    s3.clear()
    two.until(stored=4, oldest_unstored_seconds=0, held_bytes=0)


def metrics(service: Service) -> dict[tuple[str, str], float]:
    """Read /metrics as Prometheus would: a value by name and label."""
    text = service.client.get("/metrics").get_data(as_text=True)
    return {
        (sample.name.removeprefix("bucket_brigade_"), "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_say_what_stats_say(start: Start, s3: FakeS3) -> None:
    """Prometheus reads the same figures, and more: failures by reason, requests by status."""
    s3.faults(
        Fault(kind="error", status=403, code="AccessDenied", times=1),
        Fault(kind="error", status=400, code="EntityTooLarge", times=1),
    )
    service = start(OBJECT_MAX_PAYLOADS=1, MAX_WORKERS=1)
    service.post([{}, {}, {}])
    service.post([])
    service.until(stored=2, dead=1)
    seen, stats = metrics(service), service.stats()
    for figure in ("accepted", "stored"):
        assert seen[f"payloads_{figure}_total", ""] == stats[figure]
    for figure in ("pending", "dead"):
        assert seen[f"payloads_{figure}", ""] == stats[figure]
    for figure in ("queue_depth", "held_bytes", "oldest_unstored_seconds"):
        assert seen[figure, ""] == stats[figure]
    assert seen["put_failures_total", "denied"] == 1
    assert seen["put_failures_total", "throttled"] == 0
    assert seen["requests_total", "202"] == 1
    assert seen["requests_total", "422"] == 1
    assert seen["objects_stored_total", ""] == 2
    assert seen["put_seconds_count", ""] == seen["put_seconds_bucket", "+Inf"] == 2
    assert seen["put_seconds_sum", ""] > 0
    assert seen["collections_committed_total", ""] == 1


# --- Errors ---------------------------------------------------------------------------------------


def test_a_fault_of_ours_is_a_500_without_a_traceback(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is told no more than that; the log has the traceback and the request's id."""
    service = start()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a secret detail")

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(service.pipeline, "take", fail)
        answer = service.post([{}], **{"X-Request-ID": "mine"})
    assert answer.status_code == 500
    assert b"secret" not in answer.data
    assert problem(answer)["title"] == "Internal Server Error"
    assert answer.headers["X-Request-ID"] == "mine"
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_every_answer_has_the_request_s_id(start: Start) -> None:
    """The client's own, or one that was made; of a refusal, too."""
    service = start()
    for answer in (
        service.post([{}], **{"X-Request-ID": "mine"}),
        service.post([], **{"X-Request-ID": "mine"}),
        service.client.get("/nowhere", headers={"X-Request-ID": "mine"}),
    ):
        assert answer.headers["X-Request-ID"] == "mine"
    made = {service.client.get("/healthz").headers["X-Request-ID"] for _ in range(2)}
    assert len(made) == 2


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/payloads", 405),
        ("DELETE", "/payloads/s", 405),
        ("POST", "/payloads/S", 404),
        ("POST", "/payloads/", 404),
        ("POST", "/payloads/a/b", 404),
        ("POST", "/stats", 405),
    ],
)
def test_a_wrong_address_is_a_problem_too(
    start: Start, *, method: str, path: str, status: int
) -> None:
    """No route, no stream and no method answers with HTML or a redirect."""
    answer = start().client.open(path, method=method, data="[{}]", content_type="application/json")
    assert answer.status_code == status
    problem(answer)
    assert ("Allow" in answer.headers) == (status == 405)


# --- The composition root -------------------------------------------------------------------------


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
    module = importlib.import_module("wsgi")
    yield module
    sys.modules.pop("wsgi", None)
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
    monkeypatch.setenv("MAX_QUEUE", "many")
    monkeypatch.setenv("DURABILITY", "paper")
    with pytest.raises(SystemExit) as caught:
        importlib.import_module("wsgi")
    assert "MAX_QUEUE" in str(caught.value)
    assert "DURABILITY" in str(caught.value)
