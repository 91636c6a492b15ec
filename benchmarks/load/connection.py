"""A kept-alive connection that reads HTTP as far as the status and the length of an answer."""

import contextlib
import re
import socket

from benchmarks import LOOPBACK

CONNECT_SECONDS = 10.0
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
HEAD_END, CHUNKS_END = b"\r\n\r\n", b"0\r\n\r\n"
CHUNK = 1 << 16


class Connection:
    """A kept-alive connection, with one request on it at most."""

    __slots__ = ("_port", "answer", "due", "sock", "unsent")

    def __init__(self, port: int) -> None:
        self._port = port
        self.connect()

    def connect(self) -> None:
        """Connect anew; blocks for an instant, on loopback.

        Raises:
            OSError: nothing listens on the port.
        """
        self.sock = socket.create_connection((LOOPBACK, self._port), CONNECT_SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(0)
        self.due, self.unsent, self.answer = 0.0, b"", b""

    def send(self) -> None:
        """Send what the kernel takes of the request; the rest stays unsent."""
        with contextlib.suppress(BlockingIOError):
            self.unsent = self.unsent[self.sock.send(self.unsent) :]

    def receive(self) -> int | None:
        """Read what came; return the status once the answer is whole, None before.

        Raises:
            OSError: the service broke the connection.
        """
        piece = self.sock.recv(CHUNK)
        if not piece:
            raise ConnectionResetError
        self.answer += piece
        end = self.answer.find(HEAD_END)
        if end < 0:
            return None
        if not self._whole(body=end + len(HEAD_END)):
            return None
        status, self.answer = int(self.answer[9:12]), b""
        return status

    def _whole(self, *, body: int) -> bool:
        """Whether all of the answer is here; its body begins at this offset."""
        length = LENGTH.search(self.answer, 0, body)
        if length is None:
            return self.answer.endswith(CHUNKS_END)
        return len(self.answer) >= body + int(length[1])
