"""One process's serving by the engine: its threads, its engines, and their stop.

Knows gunicorn's worker, and nothing of payloads.
"""

import logging
import os
import select
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from app.ingest.posts import Posts
from app.servers.granian.engine import Engine
from app.servers.granian.router import RequestRouter
from app.servers.granian.tasks import TaskQueue
from app.servers.signals import SignalSafeWorker, ignore_stop_signals
from app.state import state_of

log = logging.getLogger(__name__)

# For what a request may still take once its body is here.
LINGER_SECONDS = 2.0
HEARTBEAT_SECONDS = 1.0
# Threads that work for requests, by what they do.
THREADS = {
    "large-body": 1,
    "validating": 4,
    # Each waits for a shared queue; together they ask it once.
    "keyed": 8,
    # Twice the look-ups that may wait for S3 at a time: those that are answered here never wait.
    "receipt": 8,
    "request": 4,
}


class Serving:
    """The engines of one worker, one for each listening socket, and what they share.

    `is_forced` says whether a stop does not wait for running requests.
    """

    def __init__(self, worker: SignalSafeWorker, *, is_forced: Callable[[], bool]) -> None:
        self._worker = worker
        self._is_forced = is_forced
        here = state_of(worker.wsgi)
        self._pipeline = here.pipeline
        self._request_timeout = timeout = here.settings.request_seconds
        self._tasks = tasks = {
            name: TaskQueue(
                ThreadPoolExecutor(threads, thread_name_prefix=name), name=name, seconds=timeout
            )
            for name, threads in THREADS.items()
        }
        self._router = RequestRouter(
            Posts(
                here.handler,
                finisher=here.finisher,
                small=tasks["validating"],
                large=tasks["large-body"],
                keyed=tasks["keyed"],
            ),
            entrance=here.entrance,
            finisher=here.finisher,
            probes=here.probes,
            memory=here.body_memory,
            receipts=tasks["receipt"],
            others=tasks["request"],
            wsgi=worker.wsgi,
            limit=here.settings.max_body_bytes,
            takes_payloads=here.settings.role != "worker",
            request_timeout=timeout,
        )
        self._engines = [
            Engine(each, router=self._router, cfg=worker.cfg, request_timeout=timeout)
            for each in worker.sockets
        ]

    def run(self) -> None:
        """Serve until the worker's stop; then wait for running requests, within bounds."""
        worker = self._worker
        for engine in self._engines:
            engine.start()
        while worker.alive and worker.ppid == os.getppid():
            self._heartbeat(HEARTBEAT_SECONDS)
        for engine in self._engines:
            engine.stop()
        self._pipeline().end_waits()
        # A client that comes now is refused at once, and does not wait in a queue without a server.
        for listener in worker.sockets:
            listener.close()
        self._finish(time.monotonic() + LINGER_SECONDS + self._request_timeout)
        ignore_stop_signals()
        # The pools are left as they are: what comes to them now is refused.
        for each in self._tasks.values():
            each.close()

    def _finish(self, deadline: float) -> None:
        """Block until no request runs any more, or until it is time to cut them off."""
        while self._running():
            self._heartbeat(0.1)
            late = self._is_forced() or time.monotonic() > deadline
            if late and self._running():
                log.warning("requests cut off by the stop")
                break

    def _running(self) -> bool:
        return not all(engine.stopped.is_set() for engine in self._engines)

    def _heartbeat(self, seconds: float) -> None:
        """Notify the master, and wait for some seconds, or a signal."""
        worker = self._worker
        worker.notify()
        self._router.expire(time.monotonic())
        if select.select([worker.PIPE[0]], [], [], seconds)[0]:
            os.read(worker.PIPE[0], 4096)
