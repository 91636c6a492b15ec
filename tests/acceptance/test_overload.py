"""More than fits: quick refusals that say when to come back, then full recovery; bounded memory."""

import contextlib
import gzip
import time
from itertools import pairwise

from tests.acceptance.service import (
    ServiceFactory,
    assert_each_object_was_put_once,
    assert_promise_kept,
    each_server,
    settle,
)
from tests.acceptance.wire import Wire, problem
from tests.support.flood import Flood, Plan
from tests.support.s3 import FakeS3, Fault
from tests.support.service import Service

MIB = 1 << 20
TINY = {"MAX_QUEUE": 1, "MAX_WORKERS": 1, "OBJECT_MAX_PAYLOADS": 10}
# A refusal takes milliseconds; this is what a test machine may add.
QUICK_SECONDS = 5.0


server_mode = each_server(scope="function")


def test_overload_is_refused_quickly_and_recovered_from_fully(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """Tiny queue, slow S3, many clients: 202 or a quick 503, then nothing but 202 again."""
    service = service_factory.start(DURABILITY=durability, WEB_CONCURRENCY=2, **TINY)
    s3.faults(Fault(kind="slow", seconds=0.2))
    with Flood(service.port, Plan(threads=8, payloads=(1, 5), refused_pause_seconds=0.01)) as flood:
        flood.wait_for("refused", 1000)
        flood.wait_for("acked", 100)
    assert flood.statuses.keys() == {202, 503}
    assert flood.retry_after_missing == 0
    assert flood.latency(1) < QUICK_SECONDS
    s3.clear()
    assert_promise_kept(service, s3, flood)
    calm = Flood(service.port, Plan(threads=1, requests=50, pause_seconds=0.02)).run()
    assert calm.statuses.keys() == {202}
    assert_promise_kept(service, s3, [flood, calm])
    assert_each_object_was_put_once(s3)


def test_a_full_queue_refuses_all_there_is_until_room_is_made(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """With S3 stuck exactly queue, workers and open segment are taken: 30 payloads, no more."""
    service = service_factory.start(DURABILITY=durability, OBJECT_MAX_AGE_SECONDS=3600, **TINY)
    s3.faults(Fault(kind="hang"))
    flood = Flood(service.port, Plan(threads=1, requests=60)).run()
    s3.wait_until(lambda seen: seen.faults.get("hang", 0) == 1)
    flood = Flood(service.port, Plan(threads=1, requests=60))
    assert service.stats()["accepted"] in {20, 30}
    flood.run()
    assert service.stats()["accepted"] == 30
    assert flood.statuses[503] >= 50
    answer = service.get("/readyz")
    assert "full" in problem(answer, 503)["detail"]
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert service.get("/healthz").status == 200
    s3.clear()
    service.wait_stats(lambda stats: stats["stored"] >= 20)
    assert service.get("/readyz").status == 200
    assert service.post("/payloads", [{}]).status == 202


def test_a_collection_that_never_fits_is_a_413(service_factory: ServiceFactory) -> None:
    """Where waiting would not help, the answer has no Retry-After."""
    service = service_factory.start(**TINY)
    assert "never fit" in problem(service.post("/payloads", [{}] * 100), 413)["detail"]
    assert service.post("/payloads", [{}] * 15).status == 202
    assert settle(service)["accepted"] == 15


def test_one_stuck_stream_does_not_hold_up_another(
    service_factory: ServiceFactory, s3: FakeS3
) -> None:
    """While S3 refuses one stream's objects for a while, the other workers serve the others."""
    service = service_factory.start(MAX_WORKERS=4, OBJECT_MAX_PAYLOADS=10)
    s3.faults(Fault(kind="error", key_contains="stuck/"))
    stuck = Flood(service.port, Plan(requests=2, payloads=10, streams=("stuck",))).run()
    others = Flood(service.port, Plan(requests=100, streams=("a", "b"))).run()
    service.wait_stats(lambda stats: stats["stored"] == 100)
    assert service.stats()["pending"] == 20
    s3.clear()
    # The next success wakes the workers that wait for S3.
    last = Flood(service.port, Plan(requests=1, streams=("a",))).run()
    assert_promise_kept(service, s3, [stuck, others, last])


# --- Memory ---------------------------------------------------------------------------------------


def worker_rss(service: Service) -> int:
    """Return the resident bytes of the one worker: all, but for the master's."""
    (child,) = service.children()
    with open(f"/proc/{child}/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def test_memory_levels_off_with_s3_stuck(service_factory: ServiceFactory, s3: FakeS3) -> None:
    """A flood that nothing drains: 503s come, the process stops growing, and every 202 survives."""
    service = service_factory.start(
        DURABILITY="memory",
        MEMORY_MAX_BYTES=8 * MIB,
        OBJECT_MAX_AGE_SECONDS=None,
    )
    s3.faults(Fault(kind="hang"))
    empty = worker_rss(service)
    with Flood(service.port, Plan(threads=8, payloads=(1, 50), pad_bytes=400)) as flood:
        flood.wait_for("refused", 10_000)
        seen = []
        for more in range(20_000, 60_000, 10_000):
            flood.wait_for("refused", more)
            seen.append(worker_rss(service))
    assert flood.retry_after_missing == 0
    assert service.stats()["held_bytes"] <= 8 * MIB
    assert max(seen) - empty < 8 * MIB + 32 * MIB
    assert max(b - a for a, b in pairwise(seen)) < 4 * MIB
    s3.clear()
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)


def test_tiny_payloads_are_bounded_like_any_other(
    service_factory: ServiceFactory, s3: FakeS3
) -> None:
    """What a payload costs beside its own bytes is part of the budget."""
    service = service_factory.start(
        DURABILITY="memory",
        MEMORY_MAX_BYTES=8 * MIB,
        OBJECT_MAX_PAYLOADS=1,
        MAX_QUEUE=1_000_000,
    )
    s3.faults(Fault(kind="hang"))
    empty = worker_rss(service)
    full = False
    while not full:
        full = service.post("/payloads", b"[" + b"{}," * 499 + b"{}]").status == 503
    assert worker_rss(service) - empty < 48 * MIB
    assert service.stats()["accepted"] >= 1000


def test_by_default_no_process_outgrows_256_mb(service_factory: ServiceFactory, s3: FakeS3) -> None:
    """Default settings, memory mode, S3 stuck, bodies of 10 MB from eight clients at once."""
    service = service_factory.start(DURABILITY="memory", OBJECT_MAX_AGE_SECONDS=None)
    s3.faults(Fault(kind="hang"))
    peak, statuses = 0, set()
    plan = Plan(threads=8, requests=10, payloads=10_000, pad_bytes=1000)
    with Flood(service.port, plan) as flood:
        while len(flood.outcomes) < 10:
            peak = max(peak, worker_rss(service))
            time.sleep(0.02)
    packed = gzip.compress(b"[" + b'{"a":1},' * (MIB - 1) + b'{"a":1}]', 1)
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(service.port)) for _ in range(8)]
        for wire in wires:
            wire.send(
                b"POST /payloads HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
            )
        for wire in wires:
            statuses.add(wire.answer().status)
            peak = max(peak, worker_rss(service))
    assert flood.statuses.keys() | statuses <= {202, 413, 503}, str(flood)
    assert flood.statuses[202], str(flood)
    assert flood.statuses[503]
    assert peak < 256_000_000
    s3.clear()
    assert settle(service)["stored"] >= len(flood.acked)
