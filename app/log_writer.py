"""Writes the log without waiting for its reader: a bounded queue and a thread.

A pipe whose reader stands still would otherwise stop every thread that logs, and so everything. A
line that does not fit into the queue is dropped and counted.
"""

import contextlib
import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from workers.threads import Threads

log = logging.getLogger(__name__)

MAX_BYTES: Final = 1 << 20
# A write of up to this size to a pipe is not mixed with other processes' (pipe(7)).
ATOMIC_BYTES: Final = select.PIPE_BUF
FLUSH_SECONDS: Final = 1.0
STDERR: Final = 2


class LogWriter:
    """Writes lines to a descriptor. Thread-safe; `write` does not block.

    Without `start` lines are written at once, if the descriptor takes any.
    """

    def __init__(self, descriptor: int, *, max_bytes: int = MAX_BYTES) -> None:
        self.dropped = 0
        # Called with the number of lines that were just dropped; must be quick, and not log.
        self.on_drop: Callable[[int], None] = lambda _: None
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._reported = 0
        # The process whose thread writes; a fork has none.
        self._owner: int | None = None
        self._threads = Threads(on_fault=self._on_fault)
        self._stopping = False
        # Reentrant: a signal's handler may log in the middle of a `write`.
        self._changed = threading.Condition()

    def start(self) -> None:
        """Write from a thread from now on. Once per process, after the fork."""
        self._owner = os.getpid()
        self._threads.start({"log-writer": self._run})

    def stop(self) -> None:
        """End the thread once it has written what there is. Returns at once."""
        self._threads.let_end()
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def write(self, line: bytes) -> None:
        """Have a line written, or drop it."""
        if self._owner != os.getpid():
            self._write_now(line)
            return
        with self._changed:
            if self._bytes + len(line) > self._max_bytes:
                self._drop()
                return
            self._lines.append(line)
            self._bytes += len(line)
            self._changed.notify_all()

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Block until all is written, for some seconds at most."""
        if self._owner != os.getpid():
            return
        with self._changed:
            self._changed.wait_for(lambda: not self._bytes, seconds)

    def _run(self) -> None:
        """Body of the thread `log-writer`."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._stopping)
                if not self._lines:
                    return
                part = self._next()
            self._write_all(part)
            with self._changed:
                self._bytes -= len(part)
                self._changed.notify_all()
                lost = 0 if self._lines else self.dropped - self._reported
                self._reported += lost
            if lost:
                log.warning("log lines dropped", extra={"lines": lost})

    def _next(self) -> bytes:
        """Take lines for one write; the caller holds the lock."""
        part = self._lines.popleft()
        while self._lines and len(part) + len(self._lines[0]) <= ATOMIC_BYTES:
            part += self._lines.popleft()
        return part

    def _write_all(self, data: bytes) -> None:
        # A closed descriptor takes nothing; there is no other place to say so.
        with contextlib.suppress(OSError):
            while data:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:
                    # Another process has made the descriptor non-blocking.
                    select.select([], [self._descriptor], [])

    def _write_now(self, line: bytes) -> None:
        ready = select.poll()
        ready.register(self._descriptor, select.POLLOUT)
        if ready.poll(0):
            self._write_all(line)
        else:
            self._drop()

    def _drop(self) -> None:
        self.dropped += 1
        self.on_drop(1)

    def _on_fault(self, _: str) -> None:
        self._owner = None


# The process's log. Handlers come and go with each configuration of `logging`.
writer = LogWriter(STDERR)


class LineHandler(logging.Handler):
    """Hands each record to the process's `writer`, as a line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Format a record and have it written. Does not block."""
        try:
            writer.write((self.format(record) + "\n").encode("utf-8", "backslashreplace"))
        except Exception:  # noqa: BLE001 (as every handler of `logging` does)
            self.handleError(record)

    def flush(self) -> None:
        """Block until all is written, for a second at most."""
        writer.flush()
