"""What both of our gunicorn workers do with signals: hear each from the first moment, stop once.

Knows gunicorn, and nothing of payloads.
"""

import contextlib
import os
import queue
import signal
from types import FrameType
from typing import Any

from gunicorn.workers.base import Worker

_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def block_signals_during_forks() -> None:
    """Let no signal that stops us come between a fork and the moment a child can hear it.

    CPython forgets what reached a child before it has set itself up (`PyOS_AfterFork_Child`): a
    stop in the middle of a start would go by a process that has not had its turn yet. Blocked
    meanwhile, it comes right after. For the master, once.
    """

    def block() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=unblock)


class SignalSafeWorker(Worker):  # type: ignore[misc]
    """A gunicorn worker that misses no signal, and takes every kind of stop as SIGTERM."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Set after the fork, see gunicorn.conf.py.
        self.missed_signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        # Set once all is done, and nothing may wait for threads that still run.
        self.exit_immediately = False

    def init_signals(self) -> None:
        """Take the signals over, and those that came since the fork, before there was a handler.

        They went to the master's handler, in this process's copy of the master's queue.
        """
        super().init_signals()
        with contextlib.suppress(queue.Empty):
            while True:
                number = self.missed_signals.get_nowait()
                if number in _STOPS:
                    os.kill(os.getpid(), number)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Stop on SIGINT or SIGQUIT as on SIGTERM: Ctrl-C brings two of them at once."""
        ignore_stop_signals()
        self.handle_exit(sig, frame)


def ignore_stop_signals() -> None:
    """Let nothing but SIGKILL interrupt this process any more: it is stopping already."""
    for number in (*_STOPS, signal.SIGHUP):
        signal.signal(number, _deaf)


def _deaf(_: int, __: FrameType | None) -> None:
    """Do nothing. SIG_IGN would make CPython complain of a signal that was on its way already."""
