"""Processes and ports of this machine, as /proc and the kernel show them."""

import contextlib
import os
import random
import select
import socket
from collections.abc import Iterable
from pathlib import Path

from tests.support.s3 import LOOPBACK

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """Find a port that is free, below those that outgoing connections are given.

    A client that retries while the service is down could otherwise be given the service's own port,
    and so keep it, or even connect to itself (net.ipv4.ip_local_port_range begins at 32768).
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((LOOPBACK, port))
            return port


def session_of(pid: int) -> int | None:
    """Read a living process's session from /proc/<pid>/stat (proc(5)); None for a dead one."""
    with contextlib.suppress(OSError):
        # The second field is the command in parentheses, which may itself hold anything.
        state, _, _, session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
        return None if state in "ZX" else int(session)
    return None


def await_end(pid: int, timeout: float) -> None:
    """Block until a process has ended, be it our child or not.

    Raises:
        AssertionError: it lives on after `timeout` seconds.
    """
    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        try:
            if not select.select([fd], [], [], timeout)[0]:
                raise AssertionError(f"process {pid} still lives after {timeout:g} s")
        finally:
            os.close(fd)


def processes_of(session: int) -> list[int]:
    """Return every living process of a session."""
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    # There are many of others, of which to ask the kernel is a tenth of reading a file.
    return sorted(pid for pid in pids if _is_of(pid, session) and session_of(pid) == session)


def _is_of(pid: int, session: int) -> bool:
    with contextlib.suppress(OSError):
        return os.getsid(pid) == session
    return False


def resident_bytes(pids: Iterable[int]) -> int:
    """Sum the resident memory of processes; pages they share count once for each."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    return total
