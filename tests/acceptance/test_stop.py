"""Every way to end the service, under load: no 202 is ever taken back."""

import collections
import contextlib
import http.client
import os
import random
import signal
import threading
import time

import pytest

from tests.acceptance.service import (
    SERVERS,
    ServiceFactory,
    assert_each_object_was_put_once,
    assert_promise_kept,
    settle,
)
from tests.acceptance.wire import Wire, head, post
from tests.support import wait_until
from tests.support.flood import Flood, Plan
from tests.support.oracle import judge
from tests.support.s3 import FakeS3, Fault
from tests.support.service import Service, await_end

# At most MAX_QUEUE + MAX_WORKERS jobs a process are left at a stop: a second or two of slow S3.
SMALL = {"OBJECT_MAX_PAYLOADS": 20, "MAX_QUEUE": 20, "MAX_WORKERS": 4, "WEB_CONCURRENCY": 2}
SLOW = Fault(kind="slow", seconds=0.1)
# A stop must end by itself; far more than any of these should take.
STOP_SECONDS = 30.0
LOAD = Plan(threads=4, payloads=(1, 5), pause_seconds=0.002)


@pytest.fixture(scope="module", params=SERVERS)
def server_mode(request: pytest.FixtureRequest) -> str:
    """Say which way requests take: everything here holds on each."""
    return str(request.param)


def events(service: Service, name: str) -> int:
    """Count the events in the log that begin so."""
    return sum(event["event"].startswith(name) for event in service.logs().events)


def end(service: Service, number: signal.Signals = signal.SIGTERM) -> int:
    """Send a signal; block until the master has ended, and return its exit code."""
    service.signal(number)
    return service.wait(STOP_SECONDS)


def start_again(service: Service) -> None:
    """Start a service that has ended, on the same spool and port."""
    service.start()
    service.wait_ready()


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
    assert time.monotonic() - started < 10
    start_again(service)
    s3.clear()
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)


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
    """Whoever is impatient while the service drains loses nothing, however long the drain takes.

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
def test_a_slow_client_does_not_hold_up_a_hurried_stop(
    service_factory: ServiceFactory, s3: FakeS3, durability: str, number: signal.Signals
) -> None:
    """Half a body under way, SIGTERM, SIGINT: what was answered for is written down in time."""
    service = service_factory.start(DURABILITY=durability, OBJECT_MAX_AGE_SECONDS=60)
    flood = Flood(service.port, Plan(requests=20, payloads=5)).run()
    with Wire(service.port) as wire:
        wire.send(post(b"[{}]", headers={"Content-Length": "99"}))
        service.terminate()
        wait_until(lambda: events(service, "Handling signal: term") > 0, timeout=10, what="TERM")
        service.signal(number)
        service.wait(STOP_SECONDS)
    start_again(service)
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)


def test_a_stop_says_what_it_leaves_behind(service_factory: ServiceFactory, s3: FakeS3) -> None:
    """What was left by processes before it counts as well as its own."""
    service = service_factory.start(DRAIN_SECONDS=0.5)
    s3.stop_listening()
    flood = Flood(service.port, Plan(requests=10, payloads=5)).run()
    service.kill_group()
    start_again(service)
    service.wait_stats(lambda stats: stats["queue_depth"] + 8 - stats["idle_workers"] > 0)
    flood_again = Flood(service.port, Plan(requests=10, payloads=5)).run()
    pending = service.stats()["pending"]
    assert pending == len(flood.acked) + len(flood_again.acked)
    assert end(service) == 0
    left = [event["left_on_disk"] for event in service.logs().events if event["event"] == "stopped"]
    assert left == [pending]
    s3.listen_again()
    start_again(service)
    assert_promise_kept(service, s3, [flood, flood_again])


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
    wait_until(lambda: len(service.children()) == 2, timeout=10, what="the new processes")
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)
    assert end(service) == 0


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
    wait_until(lambda: len(service.children()) == 2, timeout=10, what="the new process")
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


def test_a_stop_during_the_start_is_heard(service_factory: ServiceFactory) -> None:
    """SIGTERM at any moment of a start ends the service soon: no process boots on regardless."""
    rng = random.Random(1)
    service = service_factory.make(WEB_CONCURRENCY=3)
    for begun in range(1, 6):
        service.start()
        wait_until(
            lambda begun=begun: events(service, "Using worker:") == begun,  # type: ignore[misc]
            timeout=20,
            what="the first fork",
        )
        time.sleep(rng.uniform(0, 0.15))
        service.terminate()
        assert service.wait(15) == 0


def test_start_and_stop_without_traffic(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """An idle service stops at once, stores nothing and leaves no home behind."""
    service = service_factory.start(DURABILITY=durability)
    started = time.monotonic()
    assert end(service) == 0
    assert time.monotonic() - started < 5
    assert not s3.objects()
    assert not [path for path in service.spool_dir.iterdir() if len(path.name) == 32]


def test_idle_keep_alive_connections_do_not_hold_up_a_stop(service_factory: ServiceFactory) -> None:
    """Connections that say nothing more, or never did, are closed, not waited for."""
    service = service_factory.start()
    with Wire(service.port), Wire(service.port) as kept:
        kept.send(head("GET", "/healthz"))
        assert kept.answer().status == 200
        started = time.monotonic()
        assert end(service) == 0
        assert time.monotonic() - started < 10


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


def test_clients_that_do_not_close_hold_nobody_up(
    service_factory: ServiceFactory, s3: FakeS3
) -> None:
    """Told that it is over they stay connected: others are served, and a stop stores all."""
    service = service_factory.start(
        DURABILITY="memory", OBJECT_MAX_AGE_SECONDS=60, REQUEST_SECONDS=2
    )
    flood = Flood(service.port, Plan(requests=20, payloads=5)).run()
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            staying = stack.enter_context(Wire(service.port))
            staying.send(head("GET", "/healthz", {"Connection": "close"}))
            assert staying.answer().status == 200
        asked = time.monotonic()
        assert service.get("/healthz").status == 200
        # Two seconds for each of them, where each is waited for.
        assert time.monotonic() - asked < 10
        assert end(service) == 0
    assert judge([flood], s3).stored == 100
    assert not judge([flood], s3).faults


def test_a_quick_stop_ends_by_itself(service_factory: ServiceFactory) -> None:
    """SIGQUIT with a request that does not come to its end: nobody has to be killed."""
    service = service_factory.start(REQUEST_SECONDS=20)
    with Wire(service.port) as slow:
        slow.send(head("POST", "/payloads", {"Content-Length": "100"}) + b'{"pay')
        time.sleep(0.2)
        assert end(service, signal.SIGQUIT) == 0
    assert not events(service, "Worker (pid:")


def test_from_the_signal_on_the_port_refuses(service_factory: ServiceFactory) -> None:
    """While a request that began before is waited for, nobody new is let in and left alone."""
    service = service_factory.start(REQUEST_SECONDS=20)
    body = b'{"payloads":[{"n":1}]}'
    with Wire(service.port) as slow:
        whole = post(body)
        slow.send(whole[:-1])
        time.sleep(0.2)
        service.terminate()
        wait_until(lambda: refused(service.port), timeout=10, what="a refusal")
        slow.send(whole[-1:])
        assert slow.answer().status == 202
    assert service.wait(STOP_SECONDS) == 0


def refused(port: int) -> bool:
    """Say whether nobody listens."""
    with contextlib.suppress(ConnectionResetError):
        try:
            Wire(port).close()
        except ConnectionRefusedError:
            return True
    return False


def test_a_quick_stop_is_no_error(service_factory: ServiceFactory) -> None:
    """Whatever is asked while SIGQUIT is carried out gets its answer, a 503, or no connection."""
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
