"""The engine's seam: Granian's private names as we use them."""

import importlib.metadata
from pathlib import Path
from typing import Any

from granian import _granian as _typed
from granian.http import HTTP1Settings

from app.servers.granian.engine import InlineLoop

_granian: Any = _typed
ROOT = Path(__file__).parents[3]


def test_the_version_is_the_one_that_was_looked_at() -> None:
    """Another Granian may have the same names for other things: read its source, then pin it."""
    installed = importlib.metadata.version("granian")
    assert f"granian=={installed}\n" in (ROOT / "requirements.txt").read_text()
    assert installed == "2.8.7"


def test_the_names_are_there() -> None:
    """What `app/servers/granian/engine.py` calls exists, and takes what it is given."""
    assert _granian.RSGIWorker.__text_signature__ == (
        "(worker_id, sock, ipc, threads=1, blocking_threads=512, py_threads=1,"
        ' py_threads_idle_timeout=30, backpressure=256, http_mode="1", http1_opts=None,'
        " http2_opts=None, websockets_enabled=False, static_files=None, ssl_enabled=False,"
        ' ssl_cert=None, ssl_key=None, ssl_key_password=None, ssl_protocol_min="1.3", ssl_ca=None,'
        " ssl_crl=..., ssl_client_verify=False, metrics=...)"
    )
    assert {"serve_mtr", "serve_mtr_uds"} <= set(dir(_granian.RSGIWorker))
    assert {"add_cb", "set"} <= set(dir(_granian.WorkerSignal))
    assert {"header_read_timeout", "max_buffer_size"} <= HTTP1Settings.__dataclass_fields__.keys()


def test_the_loop_puts_nothing_off() -> None:
    """The engine calls these two, and a callback runs before either returns."""
    seen: list[object] = []
    InlineLoop().call_soon(seen.append, 1, context=None)
    InlineLoop().call_soon_threadsafe(seen.append, 2, context=None)
    assert seen == [1, 2]


def test_a_scheduler_takes_a_function() -> None:
    """The engine calls `_schedule_fn` with a watcher for each request."""
    scheduler = _granian.CallbackScheduler(InlineLoop(), print, None, None, None)
    scheduler._schedule_fn = print
    assert isinstance(scheduler._loop, InlineLoop)
