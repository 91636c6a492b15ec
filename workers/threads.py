"""Every thread of the pipeline: made here and nowhere else, and watched."""

import logging
import threading
import time
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)


class Threads:
    """The threads of one process. One that ends before it should is a `fault`."""

    def __init__(self, *, on_fault: Callable[[str], None]) -> None:
        # Which thread has ended though it should not have, or None.
        self.fault: str | None = None
        # Set at a stop once nothing is uploaded any more, for threads that only show things.
        self.watchers_end = threading.Event()
        self._on_fault = on_fault
        self._may_end = False
        self._threads: list[threading.Thread] = []

    def start(self, bodies: Mapping[str, Callable[[], None]]) -> None:
        """Start a daemon thread for each body, under its name. Returns at once."""
        for name, body in bodies.items():
            thread = threading.Thread(target=self._run, args=(name, body), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def let_end(self) -> None:
        """Expect threads to end from now on."""
        self._may_end = True

    def join(self, *names: str, deadline: float) -> None:
        """Block until the threads of these names have ended, all without names; or the deadline.

        `deadline` is a time of `time.monotonic`, shared by all.
        """
        for thread in self._threads:
            if not names or thread.name in names:
                thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def alive(self) -> list[str]:
        """The names of those that have not ended."""
        return [thread.name for thread in self._threads if thread.is_alive()]

    def _run(self, name: str, body: Callable[[], None]) -> None:
        error: BaseException | None = None
        try:
            body()
        except BaseException as raised:  # noqa: BLE001 (no end of a thread goes unseen)
            error = raised
        if error is not None or not self._may_end:
            self.fault = f"the thread {name} has ended: restart this process"
            log.critical("thread ended", extra={"name_of_thread": name}, exc_info=error)
            self._on_fault(name)
