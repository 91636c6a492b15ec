"""What operators see: health, readiness, stats, metrics and logs, the same from every process."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.acceptance.service import SECRET, ServiceFactory, each_server, settle
from tests.acceptance.wire import Wire, post, problem
from tests.support import wait_until
from tests.support.flood import Flood, Plan
from tests.support.s3 import FakeS3, Fault
from tests.support.service import Service

PREFIX = "bucket_brigade_"
# What both tell, and under which names.
SAME = {
    "accepted": "payloads_accepted_total",
    "stored": "payloads_stored_total",
    "pending": "payloads_pending",
    "dead": "payloads_dead",
    "queue_depth": "queue_depth",
    "idle_workers": "idle_workers",
    "held_bytes": "held_bytes",
}


server_mode = each_server(scope="function")


def metrics(service: Service) -> dict[str, float]:
    """Read /metrics: each sample's value by its name and labels."""
    text = service.get("/metrics").body.decode()
    samples = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name.removeprefix(PREFIX): float(value) for name, value in samples}


def same(stats: Mapping[str, Any], seen: Mapping[str, float]) -> bool:
    """Whether /stats and /metrics say the same."""
    return all(stats[name] == seen[other] for name, other in SAME.items())


def still(service: Service) -> tuple[dict[str, Any], dict[str, float]]:
    """Return /stats and /metrics of one moment: nothing moved while both were asked."""
    while True:
        before, seen, after = service.stats(), metrics(service), service.stats()
        if all(before[name] == after[name] for name in SAME):
            return before, seen


def test_stats_and_metrics_agree_across_processes(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """Both speak of the whole service, whichever process answers, with S3 away and after."""
    service = service_factory.start(
        DURABILITY=durability, WEB_CONCURRENCY=3, OBJECT_MAX_PAYLOADS=20
    )
    s3.faults(Fault(kind="hang"))
    # A connection for each request, so that every process has its share of them.
    statuses = [service.post("/payloads", [{}] * 5).status for _ in range(60)]
    assert set(statuses) == {202}
    service.post("/payloads", b"[")
    service.post("/payloads", [1])
    wait_until(lambda: same(service.stats(), metrics(service)), timeout=20, what="rest")
    for _ in range(8):
        stats, seen = still(service)
        assert same(stats, seen)
        assert stats["accepted"] == stats["stored"] + stats["pending"] + stats["dead"]
        assert (stats["accepted"], stats["pending"], stats["stored"]) == (300, 300, 0)
        assert stats["oldest_unstored_seconds"] > 0
        assert stats["idle_workers"] < 24
    s3.clear()
    settle(service)
    service.wait_stats(lambda stats: stats["idle_workers"] == 24)
    for _ in range(8):
        stats, seen = still(service)
        assert same(stats, seen)
        assert (stats["accepted"], stats["pending"], stats["stored"]) == (300, 0, 300)
        assert stats["oldest_unstored_seconds"] == seen["oldest_unstored_seconds"] == 0
        assert stats["held_bytes"] == 0
    assert seen["objects_stored_total"] == len(s3.objects())
    stored_bytes = sum(len(stored.body) for stored in s3.objects().values())
    assert seen["object_bytes_stored_total"] == stored_bytes
    assert seen["payload_bytes_accepted_total"] == 300 * len(b"{}\n")
    assert seen['requests_total{status="202"}'] == 60
    assert seen['requests_total{status="400"}'] == 1
    assert seen['requests_total{status="422"}'] == 1
    assert seen['put_seconds_bucket{le="+Inf"}'] == seen["put_seconds_count"] == len(s3.objects())


def test_the_ledger_balances_at_every_instant(service_factory: ServiceFactory, s3: FakeS3) -> None:
    """Asked again and again under load, nothing is ever negative, lost or counted back."""
    service = service_factory.start(OBJECT_MAX_PAYLOADS=5, WEB_CONCURRENCY=2)
    s3.faults(Fault(kind="error", probability=0.2), Fault(kind="lose_answer", probability=0.2))
    last = {"accepted": 0, "stored": 0}
    with Flood(service.port, Plan(threads=2, payloads=(1, 5), pause_seconds=0.002)) as flood:
        while len(flood.outcomes) < 200:
            stats = service.stats()
            assert stats["accepted"] == stats["stored"] + stats["pending"] + stats["dead"]
            assert stats["pending"] >= 0
            assert all(stats[name] >= last[name] for name in last)
            last = {name: stats[name] for name in last}
    s3.clear()
    assert settle(service)["accepted"] == len(flood.acked)


def test_failed_puts_are_counted_by_reason(service_factory: ServiceFactory, s3: FakeS3) -> None:
    """An alert can tell throttling from wrong credentials, and both from a network that is gone."""
    service = service_factory.start()
    faults = {
        "throttled": Fault(kind="error"),
        "denied": Fault(kind="error", status=403, code="AccessDenied"),
        "server": Fault(kind="error", status=500, code="InternalError"),
        "network": Fault(kind="reset"),
    }
    for reason, fault in faults.items():
        s3.faults(replace(fault, times=1))
        service.post("/payloads", [{}])
        settle(service)
        assert metrics(service)[f'put_failures_total{{reason="{reason}"}}'] == 1


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_say_all_is_well(service_factory: ServiceFactory, path: str) -> None:
    """Alive and ready are 200 and a word in JSON."""
    answer = service_factory.start().get(path)
    assert answer.status == 200
    assert answer.json()["status"] in {"alive", "ready"}


def test_not_ready_says_why_and_alive_stays_green(
    service_factory: ServiceFactory, s3: FakeS3
) -> None:
    """A full service is out of rotation but not restarted, and is back as soon as it has room."""
    service = service_factory.start(MAX_QUEUE=1, MAX_WORKERS=1, OBJECT_MAX_PAYLOADS=1)
    s3.faults(Fault(kind="hang"))
    Flood(service.port, Plan(threads=1, requests=30)).run()
    for _ in range(3):
        answer = service.get("/readyz")
        assert "full" in problem(answer, 503)["detail"]
        assert int(answer.headers["Retry-After"]) >= 1
        assert service.get("/healthz").status == 200
    s3.clear()
    settle(service)
    assert service.get("/readyz").status == 200


def test_the_log_names_the_request_and_nothing_it_carried(
    service_factory: ServiceFactory, s3: FakeS3
) -> None:
    """At its most talkative the log has request ids, and no payload, token or credential."""
    service_factory.expect_errors("dead letter")
    service = service_factory.start(LOG_LEVEL="debug", RECEIPT_SECRET="receipt-hush")
    s3.faults(
        Fault(kind="error", status=400, code="EntityTooLarge", key_contains="bad/"),
        Fault(kind="error", times=2),
    )
    secret = b'{"card":"4111-1111","nested":{"why":"none-of-the-log"}}'
    for stream in ("bad", "good"):
        body = b'{"token":"token-hush","payloads":[' + secret + b"]}"
        headers = {"X-Request-ID": f"sent-{stream}", "Authorization": "Bearer bearer-hush"}
        assert service.post(f"/payloads/{stream}", body, headers=headers).status == 202
    for body in (b'[{"card":"4111-1111",}]', b'{"token":"token-hush"}', secret, b'["4111-1111"]'):
        answer = service.post("/payloads", body, headers={"X-Request-ID": "refused-1"})
        assert answer.status in {400, 422}
    settle(service)
    said = service.log_path.read_text()
    hushed = ("none-of-the-log", "token-hush", "bearer-hush", "receipt-hush")
    for word in ("4111-1111", *hushed, SECRET):
        assert word not in said
    by_request: dict[str, list[str]] = {}
    for event in service.logs().events:
        by_request.setdefault(event.get("request_id", ""), []).append(event["event"])
    assert by_request["refused-1"].count("refused") == 4
    assert "accepted" in by_request["sent-good"]
    assert {"stored", "put failed", "dead letter"} <= set(by_request[""])


def test_every_line_of_the_log_is_complete(service_factory: ServiceFactory) -> None:
    """Time, level, logger, process, thread and event are on every line, gunicorn's included."""
    service = service_factory.start()
    service.post("/payloads", b"[")
    with Wire(service.port) as wire:
        wire.send(b"NOT HTTP\r\n\r\n")
        wire.answer()
        assert wire.is_closed()
    service.terminate()
    assert service.wait(30) == 0
    wanted = {"timestamp", "level", "logger", "process", "thread", "event"}
    for event in service.logs().events:
        assert wanted <= event.keys()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", event["timestamp"])


def test_a_made_request_id_can_be_found_in_the_log(service_factory: ServiceFactory) -> None:
    """The id in an answer leads to the log line of that request, and to no other."""
    service = service_factory.start()
    with Wire(service.port) as wire:
        wire.send(post(b"[") + post(b"{"))
        first, second = (wire.answer().headers["X-Request-ID"] for _ in range(2))
    assert first != second

    def refused() -> list[str]:
        events = service.logs().events
        return [event["request_id"] for event in events if event["event"] == "refused"]

    # A thread writes the log, soon.
    wait_until(lambda: len(refused()) > 1, timeout=10, what="both lines")
    assert refused() == [first, second]
