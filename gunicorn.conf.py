"""How gunicorn runs the service: processes, threads, the time budget, and when the pipeline stops.

Anything here can be overridden with `GUNICORN_CMD_ARGS`; what would break a promise is refused.
gunicorn's master runs this file. It imports no Flask, boto3 or pipeline: what the master holds, a
reload (SIGHUP) does not renew.
"""

import contextlib
import logging
import math
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from app.log_writer import writer as log_writer
from app.logs import logging_config
from app.servers.listening import addresses, is_exposed
from app.servers.preflight import find_fault
from app.servers.signals import block_signals_during_forks, ignore_stop_signals
from app.servers.tuning import end_start, raise_descriptor_limit, tune_process
from workers.errors import BucketBrigadeError, SpoolError
from workers.settings.settings import check_boto3_files, process_settings, read_secret
from workers.settings.stored import DISKLESS, make_own, place_in_memory

if TYPE_CHECKING:
    from workers.spool.spool import Spool

try:
    _settings = process_settings()
except BucketBrigadeError as _error:
    sys.exit(f"bucket-brigade: {_error}")

log = logging.getLogger("bucket-brigade")
wsgi_app = "wsgi:app"
# What reads HTTP, under the same master, signals and hooks.
worker_class = {
    "granian": "app.servers.granian.worker.EngineWorker",
    "gthread": "app.servers.gthread.worker.DeadlineThreadWorker",
}[_settings.engine]
workers = _settings.web_concurrency
bind = addresses(_settings.port)
# gthread's alone: each request holds one until it is answered.
threads = 16
# Of a process and listening socket. A silent one costs the engine 3 KiB, one with the largest
# unfinished head 55 KiB.
worker_connections = 2048
# No header changes how a request is read. gunicorn would trust some of a client on loopback or a
# Unix socket, and answer 400 where they contradict each other.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
# The heartbeat, which stands still while a process drains after SIGHUP.
timeout = math.ceil(_settings.graceful_seconds) + 10
# Running requests and the draining of the pipeline share this one budget; then comes SIGKILL.
# gunicorn looks at its clocks once a second.
graceful_timeout = math.ceil(_settings.graceful_seconds) + 2
keepalive = 75
# Its thread would make each later fork a fork of two threads.
control_socket_disable = True
# A heartbeat is a file: with a root file system that cannot be written there may be no other place.
worker_tmp_dir = str(place_in_memory()) if _settings.durability in DISKLESS else None
logconfig_dict = logging_config(_settings.log_level)


def _owner(cfg: Any) -> tuple[int, int] | None:
    """Return the user and group that root's processes will be (`--user`, `--group`), if others."""
    return (cfg.uid, cfg.gid) if os.geteuid() == 0 and cfg.uid != 0 else None


def _say_doubts(spool: "Spool") -> None:
    with contextlib.suppress(OSError):
        for doubt in spool.doubts(max_bytes=_settings.spool_max_bytes):
            about = {"directory": str(spool.root), "reason": doubt}
            log.warning("the spool directory is in doubt", extra=about)


def _check(owner: tuple[int, int] | None) -> None:
    from app.access.access_file import load_rules
    from app.ingest.formats.schemas import load_payload_schema

    if _settings.role != "web":
        check_boto3_files()
    _prepare_spool(owner)
    if _settings.payload_schema:
        load_payload_schema(_settings.payload_schema)
    if _settings.access_file is not None:
        load_rules(_settings.access_file, secret=read_secret)


def _prepare_spool(owner: tuple[int, int] | None) -> None:
    from workers.spool.spool import Spool

    spool = Spool(_settings.spool_dir)
    try:
        if _settings.durability in DISKLESS:
            make_own(spool.root, owner=owner[0] if owner else os.geteuid())
        spool.prepare(owner=owner)
        if _settings.durability not in DISKLESS:
            _say_doubts(spool)
    except SpoolError as error:
        if not error.may_pass:
            raise
        # A full disk: the processes wait for it.
        logging.getLogger("gunicorn.error").critical("%s; starting anyway", error)


def on_starting(server: Any) -> None:
    """Before a port opens: see that what the service stands on is there."""
    block_signals_during_forks()
    raise_descriptor_limit()
    fault = find_fault(lambda: _check(_owner(server.cfg)))
    if fault is not None:
        sys.exit(f"bucket-brigade: {fault}")
    if server.cfg.graceful_timeout < _settings.graceful_seconds:
        sys.exit(
            f"bucket-brigade: gunicorn's graceful_timeout ({server.cfg.graceful_timeout} s) is less"
            f" than the {_settings.graceful_seconds:g} s that a stop may take: keep-alive linger"
            " + REQUEST_SECONDS + DRAIN_SECONDS"
        )
    if _settings.access_file is None and is_exposed(server.cfg.address):
        server.log.warning("open to everyone who reaches the port: ACCESS_FILE is not set")


def post_fork(server: Any, worker: Any) -> None:
    """Hand over signals that came too early, and tune the new process."""
    worker.missed_signals = server.SIG_QUEUE
    tune_process()
    log_writer.start()


def post_worker_init(worker: Any) -> None:
    """Start the pipeline in the new process, before its first request.

    SIGHUP and SIGUSR2 are for the master; a closed terminal sends SIGHUP to all processes, and
    gunicorn's workers would end at once.
    """
    for number in (signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    from wsgi import pipelines

    pipelines.get()
    end_start()


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
