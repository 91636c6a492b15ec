"""Small services under load, and how they are ended and started again."""

import signal

import pytest

from tests.support.flood import Plan
from tests.support.processes import await_end
from tests.support.s3 import Fault
from tests.support.service import Service

# At most MAX_QUEUE + MAX_WORKERS jobs a process are left at a stop: a second or two of slow S3.
SMALL = {"OBJECT_MAX_PAYLOADS": 20, "MAX_QUEUE": 20, "MAX_WORKERS": 4, "WEB_CONCURRENCY": 2}
SLOW = Fault(kind="slow", seconds=0.1)
# A stop must end by itself; far more than any of these should take.
STOP_SECONDS = 30.0
LOAD = Plan(threads=4, payloads=(1, 5), pause_seconds=0.002)

# What a stop leaves is the pipeline's business: its own tests hold in both, and here memory mode
# is held on one server.
each_durability = pytest.mark.parametrize(
    ("server_mode", "durability"), [("engine", "disk"), ("engine", "memory"), ("gthread", "disk")]
)


def events(service: Service, name: str) -> int:
    """Count the events in the log that begin so."""
    return sum(event["event"].startswith(name) for event in service.logs().events)


def end(service: Service, number: signal.Signals = signal.SIGTERM) -> int:
    """Send a signal; block until the master has ended, and return its exit code."""
    service.signal(number)
    return service.wait(STOP_SECONDS)


def start_again(service: Service) -> None:
    """Start a service that has ended, on the same spool and port.

    One process is enough for what was left; in tests/chaos several take it over at once. Workers
    that the master has killed may end a moment after it.
    """
    for pid in service.processes():
        await_end(pid, STOP_SECONDS)
    service.settings["WEB_CONCURRENCY"] = "1"
    service.start()
    service.wait_ready()
