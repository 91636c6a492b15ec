"""gunicorn's threaded worker, with an end to its patience: a request must arrive whole in time.

gthread reads in blocking mode and would wait for a slow client's bytes for ever, a thread each.
"""

import contextlib
import socket
import time
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from workers.settings import load_settings


class PatientThreadWorker(ThreadWorker):  # type: ignore[misc]
    """gthread that stops reading from a client `REQUEST_SECONDS` after its request began."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._patience = load_settings().request_seconds
        self._reading: dict[TConn, float] = {}

    def handle(self, conn: TConn) -> Any:
        """Handle one request, in a pool thread, under a deadline."""
        self._reading[conn] = time.monotonic() + self._patience
        try:
            return super().handle(conn)
        finally:
            self._reading.pop(conn, None)

    def notify(self) -> None:
        """Beat the heart; gunicorn's loop does so at least once a second. End slow requests."""
        super().notify()
        now = time.monotonic()
        for conn, deadline in list(self._reading.items()):
            if now > deadline:
                self._reading.pop(conn, None)
                # Only the reading side: the blocked read ends, and the answer still goes out.
                with contextlib.suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RD)
