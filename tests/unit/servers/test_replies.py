"""Answers that come later: sent once, whoever is first, and no slow reader keeps others waiting."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from gunicorn.config import Config
from gunicorn.http.wsgi import Response

from app.http.responses import JSON, Answer
from app.servers.gthread.replies import Replies, Reply

ANSWER = Answer(202, [JSON, ("X-Request-ID", "mine")], b"{}")


class Pool(ThreadPoolExecutor):
    """A pool whose tasks are done when it is told; or which is shut down, as at a stop."""

    def __init__(self) -> None:
        super().__init__(1)
        self.tasks: list[Callable[[], Any]] = []
        self.is_down = False

    def submit(self, task: Any, /, *arguments: Any, **_: Any) -> Any:
        if self.is_down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        self.tasks.append(lambda: task(*arguments))

    def work(self) -> None:
        """Do the next task."""
        self.tasks.pop(0)()


class Request(NamedTuple):
    """As much of a request as an answer asks for."""

    method: str = "POST"
    version: tuple[int, int] = (1, 1)

    def should_close(self) -> bool:
        return False


class Conn(NamedTuple):
    """A connection's near end."""

    sock: socket.socket


class Connections:
    """Connections, a pool and replies between them."""

    def __init__(self) -> None:
        self.pool = Pool()
        self.finished: list[tuple[Any, bool]] = []
        self.replies = Replies(self.pool, finish=self._finish, request_timeout=0.05)
        self.sockets: list[socket.socket] = []

    def _finish(self, done: Any) -> None:
        self.finished += [(conn, outcome.result()) for conn, outcome in done]

    def make(self) -> tuple[Reply, socket.socket]:
        """Return a reply on a new connection, and the client's end of that."""
        ours, theirs = socket.socketpair()
        theirs.settimeout(5)
        self.sockets += [ours, theirs]
        response = Response(Request(), ours, Config())
        return Reply(Conn(ours), response, replies=self.replies), theirs


@pytest.fixture
def scene() -> Iterator[Connections]:
    """Make a scene; close its connections."""
    made = Connections()
    yield made
    for each in made.sockets:
        each.close()


def test_an_answer_that_is_here_is_sent_by_its_own_thread(scene: Connections) -> None:
    """Nobody else is asked to."""
    reply, _ = scene.make()
    reply(ANSWER)
    assert not reply.leave()
    assert reply.data is not None
    assert reply.data.startswith(b"HTTP/1.1 202 ACCEPTED\r\n")
    assert reply.data.endswith(b"X-Request-ID: mine\r\nContent-Length: 2\r\n\r\n{}")
    assert scene.pool.tasks == []


def test_answers_that_come_later_are_sent_together(scene: Connections) -> None:
    """One task for all that are due by then, and each connection is given back once."""
    made = [scene.make() for _ in range(3)]
    for reply, _ in made:
        assert reply.leave()
        reply(ANSWER)
    assert len(scene.pool.tasks) == 1
    scene.pool.work()
    for reply, client in made:
        assert client.recv(4096) == reply.data
    assert scene.finished == [(reply.conn, True) for reply, _ in made]


def fill(sock: socket.socket) -> None:
    """Send until the other end would have to read."""
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(1 << 16), socket.MSG_DONTWAIT)


def test_a_client_that_does_not_read_keeps_nobody_waiting(scene: Connections) -> None:
    """What it does not take is a task of its own."""
    slow, far = scene.make()
    fill(slow.conn.sock)
    quick, client = scene.make()
    for reply in (slow, quick):
        assert reply.leave()
        reply(ANSWER)
    scene.pool.work()
    assert client.recv(4096) == quick.data
    assert scene.finished == [(quick.conn, True)]
    # Nobody reads at the far end: the task gives up.
    scene.pool.work()
    assert far.fileno() > 0
    assert scene.finished[1:] == [(slow.conn, False)]


def test_a_client_that_has_left_is_let_go(scene: Connections) -> None:
    """Its connection is not kept."""
    reply, client = scene.make()
    assert reply.leave()
    client.close()
    reply(ANSWER)
    scene.pool.work()
    assert scene.finished == [(reply.conn, False)]


def test_a_pool_that_is_shut_down_is_done_without(scene: Connections) -> None:
    """At a stop the committer's own thread sends what is due."""
    reply, client = scene.make()
    assert reply.leave()
    scene.pool.is_down = True
    reply(ANSWER)
    assert client.recv(4096) == reply.data
    assert scene.finished == [(reply.conn, True)]
