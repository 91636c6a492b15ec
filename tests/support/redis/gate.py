"""A gate on the way to a server: bytes pass it until one of some words comes, and then wait.

Knows TCP only.
"""

import contextlib
import socket
import threading
from functools import partial
from typing import Self

from tests.support.s3 import LOOPBACK

PIECE = 1 << 16


class Gate:
    """Passes connections on to a port of loopback; as a context manager it is there.

    Once `closes_at` has come from a client nothing more goes on in that connection's direction;
    with `answers` the bytes themselves pass, and what comes back does not. `open` lets all pass.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = self._listener.getsockname()[1]
        self.closes_at: bytes | None = None
        self.answers = False
        # Something waits here.
        self.closed = threading.Event()
        # What waited here has gone on.
        self.passed = threading.Event()
        self._opened = threading.Event()
        self._opened.set()
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="gate")]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.open()
        self._listener.shutdown(socket.SHUT_RDWR)
        for each in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(5)

    def close_at(self, word: bytes, *, answers: bool = False) -> None:
        """Close where this word comes."""
        self.answers = answers
        self.closed.clear()
        self.passed.clear()
        self._opened.clear()
        self.closes_at = word

    def open(self) -> None:
        """Let all pass, what waits too."""
        self.closes_at = None
        self._opened.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection((LOOPBACK, self._target))
            except OSError:
                return
            self._sockets += [client, server]
            # Whether the answers of this connection are held.
            held = threading.Event()
            for source, target, is_client in ((client, server, True), (server, client, False)):
                thread = threading.Thread(
                    target=partial(self._pass_on, source, target, held, is_client=is_client),
                    name="gate",
                )
                self._threads.append(thread)
                thread.start()

    def _pass_on(
        self,
        source: socket.socket,
        target: socket.socket,
        held: threading.Event,
        *,
        is_client: bool,
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE):
                word = self.closes_at
                if is_client and word is not None and word in piece:
                    if self.answers:
                        held.set()
                    else:
                        self._wait()
                elif not is_client and held.is_set():
                    self._wait()
                target.sendall(piece)
                if self.closed.is_set():
                    self.passed.set()
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _wait(self) -> None:
        self.closed.set()
        self._opened.wait()
