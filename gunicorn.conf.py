"""How gunicorn runs the service: processes, threads, the time budget, and when the pipeline stops.

Anything here can be overridden with `GUNICORN_CMD_ARGS`; what would break a promise is refused.
"""

import contextlib
import ctypes
import logging
import math
import os
import resource
import signal
import sys
from typing import Any

from app.ingest.schemas import load_payload_schema
from app.logs import logging_config
from app.servers.signals import block_signals_during_forks, ignore_stop_signals
from workers.errors import BucketBrigadeError
from workers.settings import load_settings
from workers.spool.spool import Spool

try:
    _settings = load_settings()
except BucketBrigadeError as _error:
    sys.exit(f"bucket-brigade: {_error}")

wsgi_app = "wsgi:app"
# What reads HTTP, under the same master, signals and hooks.
worker_class = {
    "granian": "app.servers.granian.worker.EngineWorker",
    "gthread": "app.servers.gthread.worker.DeadlineThreadWorker",
}[_settings.engine]
workers = _settings.web_concurrency
# gthread's requests wait in them for the disk: the more wait, the more of them a sync serves. The
# engine has them for what is not on the hot route.
threads = 16
# Each may cost the engine 48 KiB while its request's head is coming.
worker_connections = 2048
# The heartbeat, which stands still while a process drains after SIGHUP.
timeout = math.ceil(_settings.graceful_seconds) + 10
# Running requests and the draining of the pipeline share this one budget; then comes SIGKILL.
# gunicorn looks at its clocks once a second.
graceful_timeout = math.ceil(_settings.graceful_seconds) + 2
keepalive = 75
# Its thread would make each later fork a fork of two threads.
control_socket_disable = True
logconfig_dict = logging_config(_settings.log_level)


# malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGE_BUFFER_BYTES = 1 << 18
# Freed small buffers stay with the process for the next ones: a page from the system costs as much
# as ten payloads.
KEPT_BYTES = 1 << 22


def _owner(cfg: Any) -> tuple[int, int] | None:
    """Return the user and group that root's processes will be (`--user`, `--group`), if others."""
    return (cfg.uid, cfg.gid) if os.geteuid() == 0 and cfg.uid != 0 else None


def on_starting(server: Any) -> None:
    """Before a port opens: see that what the service stands on is there."""
    block_signals_during_forks()
    # A descriptor for each connection, each open segment and each upload: all that may be had.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        Spool(_settings.spool_dir).prepare(owner=_owner(server.cfg))
        if _settings.payload_schema:
            load_payload_schema(_settings.payload_schema)
    except BucketBrigadeError as error:
        sys.exit(f"bucket-brigade: {error}")
    if server.cfg.graceful_timeout < _settings.graceful_seconds:
        sys.exit(
            f"bucket-brigade: gunicorn's graceful_timeout ({server.cfg.graceful_timeout} s) is less"
            f" than the {_settings.graceful_seconds:g} s that a stop may take: keep-alive linger"
            " + REQUEST_SECONDS + DRAIN_SECONDS"
        )


def post_fork(server: Any, worker: Any) -> None:
    """Hand over signals that came too early, and mind how memory is given back.

    Large buffers go back to the system as soon as they are done with.
    glibc raises its threshold for that with use, up to 32 MB, and a large body's pages then stay
    with the process for ever: see M_MMAP_THRESHOLD in mallopt(3).
    """
    worker.missed_signals = server.SIG_QUEUE
    # A thread that is woken waits until the one that woke it has done its part: half the switches.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with contextlib.suppress(AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BUFFER_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        # What one thread frees, another takes: with a heap each they would hold it twice.
        libc.mallopt(M_ARENA_MAX, 1)


def post_worker_init(worker: Any) -> None:
    """Start the pipeline in the new process, before its first request.

    SIGHUP and SIGUSR2 are for the master; a closed terminal sends SIGHUP to all, and gunicorn
    leaves its workers to die of it without a word.
    """
    for number in (signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    from wsgi import pipelines

    pipelines.get()


def worker_exit(server: Any, worker: Any) -> None:
    """Drain the pipeline. gunicorn calls this in the master too, for a worker that never ran."""
    if os.getpid() != worker.pid:
        return
    ignore_stop_signals()
    from wsgi import pipelines

    pipelines.stop()
    if getattr(worker, "exit_immediately", False):
        logging.shutdown()
        os._exit(0)
