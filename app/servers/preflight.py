"""Checks before a port opens, in a process of their own.

What they import does not stay in gunicorn's master, where a reload could not renew it.
"""

import os
from collections.abc import Callable

from workers.errors import BucketBrigadeError


def find_fault(check: Callable[[], None]) -> str | None:
    """Run `check` in a child process; return what was wrong, or None. Blocks until it is done."""
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            check()
            status = 0
        except BucketBrigadeError as error:
            os.write(writable, str(error).encode())
        except BaseException as error:  # noqa: BLE001 (a forked child must not go on)
            os.write(writable, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(status)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        fault = pipe.read().decode(errors="replace")
    failed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return (fault or f"the checks ended with status {failed}") if failed else None
