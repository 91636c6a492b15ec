"""What both of our gunicorn workers do with signals: miss none from the start on, and stop once.

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
    """Block the signals that stop a process from a fork until its child can handle them.

    CPython forgets a signal that reaches a child before it has set itself up
    (`PyOS_AfterFork_Child`): a process would start on after a stop. A blocked signal arrives right
    after. For the master, once.
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
    """Ignore all signals that stop a process: it is stopping already."""
    for number in (*_STOPS, signal.SIGHUP):
        signal.signal(number, _ignore_signal)


def _ignore_signal(_: int, __: FrameType | None) -> None:
    """Do nothing. With SIG_IGN CPython reports an error for a signal that has arrived already."""
