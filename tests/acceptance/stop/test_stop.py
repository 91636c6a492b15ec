"""A stop under load, with S3 slow, hanging or away: no 202 is ever taken back."""

import os
import random
import signal
import time

import pytest

from tests.acceptance.service import (
    ServiceFactory,
    assert_each_object_was_put_once,
    assert_promise_kept,
    settle,
)
from tests.acceptance.stop.samples import (
    LOAD,
    SLOW,
    SMALL,
    STOP_SECONDS,
    each_durability,
    end,
    events,
    start_again,
)
from tests.support import wait_until
from tests.support.flood import Flood, Plan
from tests.support.launch.execute import execute
from tests.support.oracle import judge
from tests.support.s3 import FakeS3, Fault


@each_durability
def test_sigterm_under_load_stores_every_202_and_exits_0(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """With a slow S3 and clients that keep coming, all that was answered 202 is in the bucket."""
    service = service_factory.start(DURABILITY=durability, **SMALL)
    s3.faults(SLOW)
    with Flood(service.port, LOAD) as flood:
        flood.wait_for("acked", 500)
        code = end(service)
    assert code == 0
    judge(flood, s3).assert_clean()
    assert_each_object_was_put_once(s3)
    assert service.processes() == []
    assert events(service, "stopped") == 2


@each_durability
def test_s3_down_at_sigterm_leaves_all_to_the_next_start(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """The service ends in time; what is left is on disk, and goes up after a start, once."""
    service = service_factory.start(DURABILITY=durability, DRAIN_SECONDS=0.5, **SMALL)
    with Flood(service.port, LOAD) as flood:
        flood.wait_for("acked", 200)
        s3.stop_listening()
        flood.wait_for("acked", 500)
        flood.stop()
        started = time.monotonic()
        assert end(service) == 0
    assert time.monotonic() - started < STOP_SECONDS
    assert [*service.spool_dir.glob("*/*.ready")]
    s3.listen_again()
    start_again(service)
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)


@each_durability
def test_a_put_that_outlives_its_process_makes_no_duplicate(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """S3 may carry out a PUT long after the service gave it up: its second try finds it there."""
    service = service_factory.start(DURABILITY=durability, DRAIN_SECONDS=0.5, **SMALL)
    s3.faults(Fault(kind="slow", seconds=3))
    flood = Flood(service.port, Plan(requests=100, payloads=5)).run()
    s3.wait_until(lambda seen: seen.faults.get("slow", 0) >= 4)
    assert end(service) == 0
    start_again(service)
    assert service.stats()["pending"] == len(flood.acked)
    s3.clear()
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)


@each_durability
def test_a_hanging_put_does_not_outlast_the_stop(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """With S3 hanging the service still ends in time, and the next start stores everything."""
    service = service_factory.start(DURABILITY=durability, DRAIN_SECONDS=0.5, **SMALL)
    s3.faults(Fault(kind="hang"))
    flood = Flood(service.port, Plan(requests=100, payloads=5)).run()
    s3.wait_until(lambda seen: seen.faults.get("hang", 0) >= 4)
    started = time.monotonic()
    assert end(service) == 0
    assert time.monotonic() - started < 20
    start_again(service)
    s3.clear()
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)


def test_a_stop_says_what_it_leaves_behind(service_factory: ServiceFactory, s3: FakeS3) -> None:
    """What was left by processes before it counts as well as its own."""
    service = service_factory.start(DRAIN_SECONDS=0.5)
    s3.stop_listening()
    flood = Flood(service.port, Plan(requests=10, payloads=5)).run()
    service.kill_group()
    start_again(service)
    wait_until(
        lambda: events(service, "adopted a home") > 0, timeout=STOP_SECONDS, what="an adoption"
    )
    flood_again = Flood(service.port, Plan(requests=10, payloads=5)).run()
    pending = service.stats()["pending"]
    assert pending == len(flood.acked) + len(flood_again.acked)
    assert end(service) == 0
    left = [event["left_on_disk"] for event in service.logs().events if event["event"] == "stopped"]
    assert left == [pending]
    s3.listen_again()
    start_again(service)
    assert_promise_kept(service, s3, [flood, flood_again])


@each_durability
def test_ctrl_c_reaches_every_process_and_loses_nothing(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """A terminal sends SIGINT to the whole group, master and workers alike, and maybe twice."""
    service = service_factory.start(DURABILITY=durability, **SMALL)
    s3.faults(SLOW)
    with Flood(service.port, LOAD) as flood:
        flood.wait_for("acked", 300)
        os.killpg(service.pid, signal.SIGINT)
        wait_until(lambda: events(service, "stopping") > 0, timeout=STOP_SECONDS, what="the drain")
        os.killpg(service.pid, signal.SIGINT)
        service.wait(STOP_SECONDS)
    start_again(service)
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)


# Five starts, each as long as it takes.
@pytest.mark.timeout(300)
def test_a_stop_during_the_start_is_heard(service_factory: ServiceFactory) -> None:
    """SIGTERM at any moment of a start ends the service soon: no process boots on regardless."""
    rng = random.Random(1)
    service = service_factory.make(WEB_CONCURRENCY=2)
    service.launch = execute
    for begun in range(1, 6):
        service.start()
        wait_until(
            lambda begun=begun: events(service, "Using worker:") == begun,  # type: ignore[misc]
            timeout=STOP_SECONDS,
            what="the first fork",
        )
        time.sleep(rng.uniform(0, 0.15))
        service.terminate()
        assert service.wait(STOP_SECONDS) == 0


@each_durability
def test_start_and_stop_without_traffic(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """An idle service stops at once, stores nothing and leaves no directory of its own."""
    service = service_factory.start(DURABILITY=durability)
    started = time.monotonic()
    assert end(service) == 0
    assert time.monotonic() - started < 15
    assert not s3.objects()
    assert not [path for path in service.spool_dir.iterdir() if len(path.name) == 32]


@each_durability
def test_a_restart_keeps_the_ledger(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """Accepted and stored count on over restarts, and receipts stay true."""
    service = service_factory.start(DURABILITY=durability)
    floods = [Flood(service.port, Plan(requests=20, payloads=3)).run()]
    assert end(service) == 0
    start_again(service)
    floods.append(Flood(service.port, Plan(requests=20, payloads=3)).run())
    assert settle(service)["accepted"] == 120
    assert_promise_kept(service, s3, floods)
    receipt = floods[0].outcomes[0].receipts[0]
    assert service.get(f"/receipts/{receipt.id}").json()["state"] == "stored"
