"""The thread that looks for jobs of other processes: now and then, and when there is reason to."""

import logging
import threading
from collections.abc import Callable

from workers.stores.job_source import JobSource

log = logging.getLogger(__name__)

# Between two looks there is as much, also where one is asked for.
PAUSE_SECONDS = 0.2


class Adopter:
    """`run` is the body of the thread `adopter`; the other methods do not block."""

    def __init__(self, source: JobSource, *, on_look: Callable[[], None]) -> None:
        self._source = source
        self._on_look = on_look
        self._ended = threading.Event()
        self._wake = threading.Event()

    def run(self) -> None:
        """Look every `look_seconds` until `end`."""
        while not self._ended.is_set():
            try:
                self._source.look(stopping=self._ended.is_set)
            except Exception:
                log.exception("adopter failed; it goes on")
            self._on_look()
            if self._wake.wait(self._source.look_seconds):
                # What cannot be adopted must not keep the thread busy.
                self._ended.wait(PAUSE_SECONDS)
                self._wake.clear()

    def look_now(self) -> None:
        """Look soon, and not only when the time comes."""
        self._wake.set()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self._wake.set()
