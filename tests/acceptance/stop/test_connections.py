"""What a stop does with connections: idle ones, those that do not close, new ones."""

import contextlib
import math
import time

from tests.acceptance.service import (
    ServiceFactory,
)
from tests.acceptance.stop.samples import STOP_SECONDS, end
from tests.acceptance.wire import JSON, Wire, head, post
from tests.support import wait_until
from tests.support.flood import Flood, Plan
from tests.support.oracle import judge
from tests.support.s3 import FakeS3


def test_idle_keep_alive_connections_do_not_hold_up_a_stop(service_factory: ServiceFactory) -> None:
    """Connections that say nothing more, or never did, are closed, not waited for."""
    longer = math.ceil(2 * STOP_SECONDS)
    service = service_factory.start(
        REQUEST_SECONDS=longer, GUNICORN_CMD_ARGS=f"--keep-alive {longer}"
    )
    with Wire(service.port), Wire(service.port) as kept:
        kept.send(head("GET", "/healthz"))
        assert kept.answer().status == 200
        assert end(service) == 0


def test_clients_that_do_not_close_delay_no_other(
    service_factory: ServiceFactory, s3: FakeS3
) -> None:
    """They stay connected after `Connection: close`: others are served, and a stop stores all."""
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
        # Two seconds for each of the twenty, where each is waited for.
        assert time.monotonic() - asked < 20
        assert end(service) == 0
    assert judge([flood], s3).stored == 100
    assert not judge([flood], s3).faults


def test_from_the_signal_on_the_port_refuses(service_factory: ServiceFactory) -> None:
    """While a request that began before is waited for, new connections are refused, not ignored."""
    service = service_factory.start(REQUEST_SECONDS=20)
    body = b'{"payloads":[{"n":1}]}'
    with Wire(service.port) as slow:
        slow.send(post(body, headers={**JSON, "Expect": "100-continue"})[: -len(body)])
        assert slow.answer().status == 100
        slow.send(body[:-1])
        service.terminate()
        wait_until(lambda: refused(service.port), timeout=STOP_SECONDS, what="a refusal")
        slow.send(body[-1:])
        assert slow.answer().status == 202
    assert service.wait(STOP_SECONDS) == 0


def refused(port: int) -> bool:
    """Say whether connections are refused."""
    with contextlib.suppress(ConnectionResetError):
        try:
            Wire(port).close()
        except ConnectionRefusedError:
            return True
    return False
