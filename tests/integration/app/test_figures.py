"""What probes and Prometheus read."""

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.app.application import Service, Start, problem
from tests.support.s3 import FakeS3, Fault


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
