"""Signals and forks, in a process of its own: what a stop meets in the middle of a start."""

import subprocess
import sys

from tests.support import ROOT

FORKS = 50
# On one processor a child has its first turn after its parent's signal. Prints how many missed it.
PROGRAM = f"""
import os, signal, time
from app.servers.signals import block_signals_during_forks

os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
block_signals_during_forks()
missed = 0
for _ in range({FORKS}):
    child = os.fork()
    if not child:
        end = time.monotonic() + 0.2
        while not heard and time.monotonic() < end:
            time.sleep(0.01)
        os._exit(not heard)
    os.kill(child, signal.SIGTERM)
    missed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(missed)
"""


def test_a_child_hears_what_came_before_its_first_turn() -> None:
    """A signal that is sent as soon as the fork returns is not lost, as CPython alone loses it."""
    program = [sys.executable, "-c", PROGRAM]
    ran = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "0"
