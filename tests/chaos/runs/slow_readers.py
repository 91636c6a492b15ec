"""The run with clients that do not read their responses, or do not finish their requests."""

import contextlib
import random
import socket
from collections.abc import Callable, Sequence
from typing import Self

from tests.chaos.harness.experiment import Experiment
from tests.chaos.harness.figures import Figures, Terms, chaos_run
from tests.support.s3 import LOOPBACK, Fault

CLIENTS = 120
# Look-ups of receipts, and uploads, then take as long as S3 does.
SLOW = Fault(kind="slow", seconds=3.0, probability=0.5)
PROBE_SECONDS = 10.0
_JSON = b"Host: chaos\r\nContent-Type: application/json\r\n"


def never_reads_figures(_: random.Random) -> bytes:
    """Ask again and again for a long response."""
    return b"GET /metrics HTTP/1.1\r\nHost: chaos\r\n\r\n" * 50


def never_reads_refusals(_: random.Random) -> bytes:
    """Send bodies that are refused, each with a response and a line in the log."""
    return (b"POST /payloads HTTP/1.1\r\n" + _JSON + b"Content-Length: 1\r\n\r\n[") * 200


def stalls_in_its_body(rng: random.Random) -> bytes:
    """Announce a body, and send a part of it."""
    length = rng.choice((100, 200_000, 8_000_000))
    announced = b"Content-Length: %d\r\n\r\n[" % length
    return b"POST /payloads/stalled HTTP/1.1\r\n" + _JSON + announced


def stalls_in_a_chunk(_: random.Random) -> bytes:
    """Break off in the middle of a compressed chunk."""
    coded = b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\nffff\r\n\x1f\x8b"
    return b"POST /payloads/stalled HTTP/1.1\r\n" + _JSON + coded


def says_nothing(_: random.Random) -> bytes:
    """Only connect."""
    return b""


KINDS: Sequence[Callable[[random.Random], bytes]] = (
    never_reads_figures,
    never_reads_refusals,
    stalls_in_its_body,
    stalls_in_a_chunk,
    says_nothing,
)


class StalledClients:
    """Connections whose clients neither read nor go on; none of them has a payload accepted."""

    def __init__(self, port: int, rng: random.Random) -> None:
        self._port = port
        self._rng = rng
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave(len(self._sockets))

    def renew(self) -> None:
        """Leave with some of the connections, and open others up to `CLIENTS`."""
        self._rng.shuffle(self._sockets)
        self._leave(self._rng.randrange(len(self._sockets) + 1))
        while len(self._sockets) < CLIENTS:
            client = socket.socket()
            # What the service writes fills its buffer and this one as soon as on Ethernet.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
            client.settimeout(1.0)
            with contextlib.suppress(OSError):
                client.connect((LOOPBACK, self._port))
                client.sendall(self._rng.choice(KINDS)(self._rng))
            self._sockets.append(client)

    def _leave(self, count: int) -> None:
        for _ in range(count):
            self._sockets.pop().close()


@chaos_run("slow-readers")
def slow_readers(terms: Terms) -> Figures:
    """Fill the service with stalled clients, slow S3 down, kill processes; others go on."""
    with Experiment("stalled clients, with kills", terms, REQUEST_SECONDS=3) as experiment:
        service = experiment.services[0]
        with StalledClients(service.port, experiment.rng) as clients:
            for _ in experiment.rounds(0.2, 1.0, least=3):
                clients.renew()
                experiment.s3.faults(*([SLOW] if experiment.rng.random() < 0.5 else []))
                experiment.await_load()
                assert service.get("/healthz", timeout=PROBE_SECONDS).status == 200
                if experiment.rng.random() < 0.4:
                    service.kill_one(experiment.rng)
        return experiment.figures()
