"""A quick stop, and a second signal: it ends soon, and loses nothing either."""

import collections
import contextlib
import http.client
import os
import signal
import threading

import pytest

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
    events,
    start_again,
)
from tests.acceptance.wire import JSON, Wire, head, post
from tests.support import wait_until
from tests.support.flood import Flood, Plan
from tests.support.s3 import FakeS3, Fault


@pytest.mark.parametrize(
    ("durability", "number"),
    [("disk", signal.SIGQUIT), ("memory", signal.SIGQUIT), ("memory", signal.SIGINT)],
)
def test_a_quick_stop_loses_nothing_either(
    service_factory: ServiceFactory, s3: FakeS3, durability: str, number: signal.Signals
) -> None:
    """SIGINT and SIGQUIT break connections off, but no 202 is lost: the rest is on disk."""
    service = service_factory.start(DURABILITY=durability, **SMALL)
    s3.faults(SLOW)
    with Flood(service.port, LOAD) as flood:
        flood.wait_for("acked", 500)
        assert end(service, number) == 0
    assert service.processes() == []
    start_again(service)
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)


@pytest.mark.parametrize(
    ("durability", "number"),
    [
        ("disk", signal.SIGINT),
        ("memory", signal.SIGQUIT),
        ("memory", signal.SIGTERM),
    ],
)
def test_a_second_signal_does_not_cut_the_drain_short(
    service_factory: ServiceFactory, s3: FakeS3, durability: str, number: signal.Signals
) -> None:
    """A second signal while the service drains loses nothing, however long the drain takes.

    gunicorn's master gives its workers two seconds more when SIGINT or SIGQUIT follows SIGTERM.
    """
    service = service_factory.start(DURABILITY=durability, **{**SMALL, "WEB_CONCURRENCY": 1})
    s3.faults(Fault(kind="slow", seconds=1))
    flood = Flood(service.port, Plan(requests=48, payloads=5)).run()
    service.terminate()
    wait_until(lambda: events(service, "stopping") > 0, timeout=STOP_SECONDS, what="the drain")
    for _ in range(3):
        service.signal(number)
        for pid in service.children():
            os.kill(pid, number)
    service.wait(STOP_SECONDS)
    s3.clear()
    start_again(service)
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
@each_durability
def test_a_slow_client_does_not_hold_up_a_hurried_stop(
    service_factory: ServiceFactory, s3: FakeS3, durability: str, number: signal.Signals
) -> None:
    """Half a body under way, SIGTERM, SIGINT: what was answered for is written down in time."""
    service = service_factory.start(DURABILITY=durability, OBJECT_MAX_AGE_SECONDS=60)
    flood = Flood(service.port, Plan(requests=20, payloads=5)).run()
    with Wire(service.port) as wire:
        wire.send(post(b"[{}]", headers={"Content-Length": "99"}))
        service.terminate()
        wait_until(lambda: events(service, "Handling signal: term") > 0, timeout=50, what="TERM")
        service.signal(number)
        service.wait(STOP_SECONDS)
    start_again(service)
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)


def test_a_quick_stop_ends_by_itself(service_factory: ServiceFactory) -> None:
    """SIGQUIT with a request that does not come to its end: no process has to be killed."""
    service = service_factory.start(REQUEST_SECONDS=20)
    with Wire(service.port) as slow:
        asking = {**JSON, "Content-Length": "100", "Expect": "100-continue"}
        slow.send(head("POST", "/payloads", asking))
        assert slow.answer().status == 100
        slow.send(b'{"pay')
        assert end(service, signal.SIGQUIT) == 0
    assert not events(service, "Worker (pid:")


def test_a_quick_stop_is_no_error(service_factory: ServiceFactory) -> None:
    """A request while SIGQUIT is carried out gets its answer, a 503, or no connection."""
    service = service_factory.start()
    seen: collections.Counter[int] = collections.Counter()

    def ask_on() -> None:
        gone = (OSError, EOFError, http.client.HTTPException)
        with contextlib.suppress(*gone), Wire(service.port) as wire:
            while True:
                wire.send(head("GET", "/healthz"))
                seen[wire.answer().status] += 1

    asking = [threading.Thread(target=ask_on) for _ in range(8)]
    for thread in asking:
        thread.start()
    wait_until(lambda: seen[200] > 100, timeout=20, what="answers")
    assert end(service, signal.SIGQUIT) == 0
    for thread in asking:
        thread.join()
    assert set(seen) <= {200, 503}
