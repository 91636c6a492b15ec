"""gunicorn's worker around Granian's HTTP engine.

gunicorn keeps processes, signals and hooks. gunicorn's master imports this module; what a reload
(SIGHUP) must renew is imported in `run`, in the new process.
"""

from types import FrameType
from typing import Any

from app.servers.signals import SignalSafeWorker


class EngineWorker(SignalSafeWorker):
    """A gunicorn worker that serves by Granian's engine."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._force_quit = False

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Stop without waiting for running requests: the master kills within two seconds."""
        super().handle_quit(sig, frame)
        self._force_quit = True

    def run(self) -> None:
        """Serve until a stop, then finish what is running, in its part of the stop's time."""
        from app.servers.granian.serving import Serving  # noqa: PLC0415 (see above)

        Serving(self, is_forced=lambda: self._force_quit).run()
        # Threads in Rust must not meet an interpreter that is taken down.
        self.exit_immediately = True
