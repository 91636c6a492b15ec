"""Processes that are renewed, go or die while the others serve."""

import os
import signal

from tests.acceptance.service import (
    ServiceFactory,
    assert_each_object_was_put_once,
    assert_promise_kept,
)
from tests.acceptance.stop.samples import (
    LOAD,
    SLOW,
    SMALL,
    STOP_SECONDS,
    each_durability,
    end,
    start_again,
)
from tests.support import wait_until
from tests.support.flood import Flood, Plan
from tests.support.processes import await_end
from tests.support.s3 import FakeS3, Fault


@each_durability
def test_a_reload_under_load_is_not_noticed(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """SIGHUP: new processes take over, the old ones drain, and requests are served throughout."""
    service = service_factory.start(DURABILITY=durability, **SMALL)
    before = service.children()
    with Flood(service.port, LOAD) as flood:
        flood.wait_for("acked", 200)
        service.signal(signal.SIGHUP)
        for pid in before:
            await_end(pid, STOP_SECONDS)
        flood.wait_for("acked", 400)
    assert flood.statuses.keys() <= {202, 503}
    wait_until(lambda: len(service.children()) == 2, timeout=50, what="the new processes")
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)
    assert end(service) == 0


@each_durability
def test_one_process_may_go_while_the_others_serve(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """SIGTERM to one of them: it drains, another takes its place, and nothing is lost."""
    service = service_factory.start(DURABILITY=durability, **SMALL)
    s3.faults(SLOW)
    with Flood(service.port, LOAD) as flood:
        flood.wait_for("acked", 200)
        victim = service.children()[0]
        os.kill(victim, signal.SIGTERM)
        await_end(victim, STOP_SECONDS)
        flood.wait_for("acked", 500)
    wait_until(lambda: len(service.children()) == 2, timeout=50, what="the new process")
    s3.clear()
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)


def test_a_killed_process_is_inherited_by_the_others(
    service_factory: ServiceFactory, s3: FakeS3
) -> None:
    """SIGKILL to one of them: what it had on disk goes up, from another, without a restart."""
    service_factory.expect_errors("Worker (pid:")
    service = service_factory.start(DURABILITY="disk", **SMALL)
    s3.faults(Fault(kind="hang"))
    with Flood(service.port, LOAD) as flood:
        flood.wait_for("acked", 300)
        victim = service.children()[0]
        os.kill(victim, signal.SIGKILL)
        await_end(victim, STOP_SECONDS)
        flood.wait_for("acked", 400)
    s3.clear()
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)


def test_a_backlog_does_not_delay_readiness(service_factory: ServiceFactory, s3: FakeS3) -> None:
    """Left-over objects go up beside new traffic; the service is ready, and refuses nothing."""
    service = service_factory.start(DURABILITY="disk", DRAIN_SECONDS=0.5, **SMALL)
    s3.stop_listening()
    old = Flood(service.port, Plan(requests=200, payloads=5, threads=2)).run()
    assert end(service) == 0
    start_again(service)
    stats = service.wait_stats(lambda stats: stats["pending"] >= len(old.acked))
    assert stats["oldest_unstored_seconds"] > 0
    s3.listen_again()
    new = Flood(service.port, Plan(requests=50, payloads=5, pause_seconds=0.01)).run()
    assert new.acked
    assert_promise_kept(service, s3, [old, new])
    assert_each_object_was_put_once(s3)
