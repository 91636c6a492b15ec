"""What a forked process does: it becomes a script. Imports nothing that the script may import."""

import atexit
import os
import runpy
import sys
from multiprocessing.connection import Connection


def run(
    started: Connection, command: list[str], *, cwd: str, environ: dict[str, str], log: str
) -> None:
    """Run a script under its name, with the environment that it would have, until it ends.

    `started` is closed when the session is its own, and the log is there.
    """
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for standard in (1, 2):
        os.dup2(output, standard)
    os.close(output)
    started.close()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = command
    ours = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]
    extra = environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [os.path.dirname(command[0]), *filter(None, extra), *ours]
    try:
        runpy.run_path(command[0], run_name="__main__")
    finally:
        # multiprocessing ends a process without them.
        atexit._run_exitfuncs()
