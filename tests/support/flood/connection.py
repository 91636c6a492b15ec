"""A client's connection, which takes a third of the CPU of `http.client`'s.

Knows HTTP/1.1 as the service speaks it: each answer has a `Content-Length`.
"""

import socket
from collections.abc import Mapping

from tests.support.outcomes import Answer
from tests.support.s3 import LOOPBACK

READ_BYTES = 1 << 16


class Connection:
    """Sends one request after the other; opened anew, maybe to another `port`, when it is closed.

    Connecting, sending and each read may take `timeout` seconds.
    """

    def __init__(self, port: int, timeout: float) -> None:
        self.port = port
        self._timeout = timeout
        self._socket: socket.socket | None = None

    def open(self) -> socket.socket:
        """Connect, if it is not connected. Blocks.

        Raises:
            OSError: nothing listens there, or not in time.
        """
        if self._socket is None:
            self._socket = socket.create_connection((LOOPBACK, self.port), self._timeout)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def close(self) -> None:
        """Close it, if it is open."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send a request and block until its answer is here, and whole.

        Raises:
            OSError: the connection broke before that, or took too long, and is closed.
        """
        given = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {LOOPBACK}:{self.port}\r\n"
            f"Accept-Encoding: identity\r\nContent-Length: {len(body)}\r\n{given}\r\n"
        ).encode()
        try:
            sock = self.open()
            sock.sendall(head + body)
            return self._read(sock)
        except OSError:
            self.close()
            raise

    def _read(self, sock: socket.socket) -> Answer:
        received = _receive(sock)
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += _receive(sock)
        first, *lines = received[:end].decode("latin-1").split("\r\n")
        version, status, *_ = first.split(" ")
        fields = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        start = end + 4
        whole = start + int(headers["content-length"])
        while len(received) < whole:
            received += _receive(sock)
        if version != "HTTP/1.1" or headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(int(status), headers, received[start:])


def _receive(sock: socket.socket) -> bytes:
    if received := sock.recv(READ_BYTES):
        return received
    raise ConnectionResetError("the connection ended before the answer did")
