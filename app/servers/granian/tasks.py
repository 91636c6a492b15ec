"""Queues of tasks for the engine's threads. A task that waited too long is refused."""

import time
from collections.abc import Callable
from concurrent.futures import Executor

from app.http.problems import Problem, Unavailable


class TaskQueue:
    """A thread pool's tasks, each worth doing for some seconds only. Thread-safe."""

    def __init__(self, pool: Executor, *, name: str, seconds: float) -> None:
        self._pool = pool
        self._name = name
        self._seconds = seconds
        self._closed = False

    def submit(self, run: Callable[[], None], *, refuse: Callable[[Problem], None]) -> None:
        """Have one of two called in a thread, once: `refuse` if it is too late. Returns at once."""
        self._pool.submit(self._work, run, refuse, time.monotonic() + self._seconds)

    def close(self) -> None:
        """Refuse all that has not begun."""
        self._closed = True

    def _work(
        self, run: Callable[[], None], refuse: Callable[[Problem], None], deadline: float
    ) -> None:
        if self._closed:
            refuse(Unavailable("This process is stopping.", retry_after=1))
        elif time.monotonic() > deadline:
            refuse(Unavailable(f"All {self._name} threads are busy.", retry_after=1))
        else:
            run()
