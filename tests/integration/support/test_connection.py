"""The connection that a flood's clients have, against a server that answers as it is told."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence

import pytest

from tests.support.flood import Connection
from tests.support.s3 import LOOPBACK

ANSWER = b"HTTP/1.1 202 Accepted\r\nRetry-After: 7\r\nContent-Length: 9\r\n\r\n{\r\n\r\n:1}\n"
LAST = ANSWER.replace(b"Retry-After: 7", b"Connection: close")


@contextlib.contextmanager
def answering(*connections: Sequence[Sequence[bytes]]) -> Iterator[Connection]:
    """Serve connections in turn, each by its answers, of which each piece is sent alone."""
    with socket.create_server((LOOPBACK, 0)) as listener:

        def serve() -> None:
            for answers in connections:
                accepted, _ = listener.accept()
                with accepted:
                    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for pieces in answers:
                        assert accepted.recv(65536).endswith(b"\r\n\r\n[{}]")
                        for piece in pieces:
                            accepted.send(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        with contextlib.closing(Connection(listener.getsockname()[1], 10)) as connection:
            yield connection
        thread.join(10)


def post(connection: Connection) -> tuple[int, str | None, bytes]:
    """Send a request; return what matters of its answer."""
    answer = connection.post("/payloads", b"[{}]", {"Content-Type": "application/json"})
    return answer.status, answer.headers.get("retry-after"), answer.body


@pytest.mark.parametrize("size", [1, 7, len(ANSWER)])
def test_answers_are_whole_however_they_arrive(size: int) -> None:
    """Heads and bodies are put together from pieces, for one request after the other."""
    pieces = [ANSWER[at : at + size] for at in range(0, len(ANSWER), size)]
    with answering([pieces, pieces]) as connection:
        for _ in range(2):
            assert post(connection) == (202, "7", b"{\r\n\r\n:1}\n")


@pytest.mark.parametrize("length", [0, 20, len(ANSWER) - 1])
def test_half_an_answer_is_none(length: int) -> None:
    """A connection that ends before the answer does is an error, and the next one is used."""
    with answering([[ANSWER[:length]]], [[ANSWER]]) as connection:
        with pytest.raises(ConnectionError):
            post(connection)
        assert post(connection)[0] == 202


def test_a_connection_that_is_to_be_closed_is_not_used_again() -> None:
    """After `Connection: close` the next request has a connection of its own."""
    with answering([[LAST]], [[ANSWER]]) as connection:
        assert [post(connection)[0] for _ in range(2)] == [202, 202]
