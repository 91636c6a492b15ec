"""What the tests share: working doubles, a fake S3, load, the service as a process, a judge."""

import time
from collections.abc import Callable
from pathlib import Path

# The repository.
ROOT = Path(__file__).resolve().parents[2]


# Of the time that was waited, a question may add so much, but not more than these seconds.
ASK_SHARE, MIN_ASK_SECONDS, MAX_ASK_SECONDS = 0.1, 0.02, 0.1


def wait_until(condition: Callable[[], bool], *, timeout: float, what: str) -> None:
    """Block until `condition` holds, for at most `timeout` seconds; ask less often as time passes.

    For what other processes do; threads of one process have events.

    Raises:
        AssertionError: it never held.
    """
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        if waited > timeout:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(min(MAX_ASK_SECONDS, max(MIN_ASK_SECONDS, waited * ASK_SHARE)))
