"""gunicorn's private names as our threaded worker uses them."""

import importlib.metadata
import inspect
from pathlib import Path

import pytest
from gunicorn.http import errors
from gunicorn.workers import gthread
from gunicorn.workers.base import Worker

from app.servers.gthread.worker import DeadlineThreadWorker

ROOT = Path(__file__).parents[3]


def test_the_version_is_the_one_that_was_looked_at() -> None:
    """Another gunicorn may have the same names for other things: read its source, then pin it."""
    installed = importlib.metadata.version("gunicorn")
    assert f"gunicorn=={installed}\n" in (ROOT / "requirements.txt").read_text()
    assert installed == "27.0.1"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("accept", ["self", "listener"]),
        ("handle", ["self", "conn"]),
        ("finish_request", ["self", "conn", "fs"]),
        ("on_pending_socket_readable", ["self", "conn", "client"]),
        ("notify", ["self"]),
        ("run", ["self"]),
        ("handle_quit", ["self", "sig", "frame"]),
        ("handle_error", ["self", "req", "client", "addr", "exc"]),
        ("_cap_keepalive", ["self", "deadline"]),
    ],
)
def test_a_method_that_is_overridden_or_called_is_there(name: str, parameters: list[str]) -> None:
    """Each takes what it took, or an override of ours would never be called."""
    assert list(inspect.signature(getattr(gthread.ThreadWorker, name)).parameters) == parameters


def test_the_attributes_are_there() -> None:
    """What the loop, a connection and its queue are asked for is set where it was."""
    source = inspect.getsource(gthread.ThreadWorker)
    for name in ("nr_conns", "pending_conns", "poller", "tpool", "method_queue"):
        assert f"self.{name}" in source
    connection = inspect.getsource(gthread.TConn)
    assert all(f"self.{name}" in connection for name in ("sock", "timeout"))
    assert {"defer", "close"} <= set(dir(gthread.PollableMethodQueue))
    assert gthread.STOP_KEEPALIVE_LINGER == 2
    assert {"notify", "init_signals", "handle_exit"} <= set(dir(Worker))


def test_the_errors_are_there() -> None:
    """Each has a status of its own in our worker; all are one kind."""
    kinds = (
        errors.LimitRequestLine,
        errors.ExpectationFailed,
        errors.LimitRequestHeaders,
        errors.UnsupportedTransferCoding,
    )
    assert all(issubclass(kind, errors.ParseException) for kind in kinds)


def test_ours_is_what_gunicorn_runs() -> None:
    """Its methods come before gunicorn's."""
    assert DeadlineThreadWorker.finish_request is not gthread.ThreadWorker.finish_request
    assert issubclass(DeadlineThreadWorker, gthread.ThreadWorker)
