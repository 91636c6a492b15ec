"""What the tests share: working doubles, a fake S3, load, the service as a process, a judge."""

import time
from collections.abc import Callable
from pathlib import Path

# The repository.
ROOT = Path(__file__).resolve().parents[2]


def wait_until(condition: Callable[[], bool], *, timeout: float, what: str) -> None:
    """Block until `condition` holds, asking every 20 ms for at most `timeout` seconds.

    For what other processes do; threads of one process have events.

    Raises:
        AssertionError: it never held.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(0.02)
