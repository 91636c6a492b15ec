"""What a process asks of the system for its own good, and what each buys.

docs/performance.md has the measurements. All of it may be refused; nothing depends on it.
"""

import contextlib
import ctypes
import gc
import os
import resource

# malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
# The body of an object of the default target is smaller.
LARGE_BUFFER_BYTES = 6 << 20
KEPT_BYTES = 1 << 24


def raise_descriptor_limit() -> None:
    """Allow a descriptor for each connection, open segment and upload: as many as may be had."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def tune_process() -> None:
    """Set the scheduler and malloc of a new process, and begin its start. Does not block."""
    # What is made until `end_start` stays: to look for garbage in it is a tenth of a start's CPU.
    gc.disable()
    # A thread that is woken does not preempt the one that woke it: a tenth of the context switches,
    # a quarter less CPU (sched(7)).
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with contextlib.suppress(AttributeError):
        libc = ctypes.CDLL(None)
        # Large buffers go back to the system when they are freed. glibc raises this threshold with
        # use, up to 32 MB, and a large body's pages would stay with the process: mallopt(3).
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BUFFER_BYTES)
        # Freed smaller ones stay for the next: a page from the system costs as much as ten
        # payloads.
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        # One thread frees what another allocated: with a heap each they would hold it twice.
        libc.mallopt(M_ARENA_MAX, 1)


def end_start() -> None:
    """Collect garbage from now on, but for what is there now. Does not block."""
    gc.freeze()
    gc.enable()
