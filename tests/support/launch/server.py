"""`python -m tests.support.launch.server`: imports modules, and becomes each script in a fork.

A request is a line of JSON on standard input, the answer a number on standard output. What is
imported makes up most of a start. It must not depend on the environment, which is the script's.
"""

import gc
import importlib
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

ROOT = Path.cwd()
PACKAGES = (
    *("flask", "granian", "marshmallow", "apispec.ext.marshmallow", "prometheus_client"),
    *("boto3.s3.inject", "redis", "msgspec", "isal.igzip", "zstandard"),
)
# Of `ROOT`, as a script that runs there finds them.
OURS = (
    *("app.factory", "app.servers.granian.worker", "app.servers.gthread.worker"),
    *("workers.pipeline", "tests.support.s3.__main__"),
)
# gunicorn looks at the current directory as it is imported.
NOT_ELSEWHERE = {"app", "workers", "gunicorn"}


def serve() -> dict[str, Any] | None:
    """Answer requests until there are none; in a fork, return the one that it is for.

    A script's answer is its process, once that has its session and its log; the answer for a
    process that has ended is its exit code.
    """
    for line in sys.stdin.buffer:
        request: dict[str, Any] = json.loads(line)
        if "ended" in request:
            _answer(os.waitstatus_to_exitcode(os.waitpid(request["ended"], 0)[1]))
            continue
        readable, writable = os.pipe()
        if not (pid := os.fork()):
            os.setsid()
            _redirect(request["log"])
            os.close(readable)
            os.close(writable)
            return request
        os.close(writable)
        os.read(readable, 1)
        os.close(readable)
        _answer(pid)
    return None


def _answer(number: int) -> None:
    os.write(1, b"%d\n" % number)


def _redirect(log: str) -> None:
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, standard in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, standard)
    os.close(output)
    os.close(nothing)


def become(command: list[str], *, cwd: str, environ: dict[str, str]) -> None:
    """Run a script under its name, with the directory and environment that it would have."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environ)
    sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in environ
    sys.argv = command
    installed = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]
    extra = filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = [os.path.dirname(command[0]), *extra, *installed]
    if not ROOT.samefile(cwd):
        for name in [name for name in sys.modules if name.split(".")[0] in NOT_ELSEWHERE]:
            del sys.modules[name]
    runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    # Neither looking for garbage nor the end of a fork then writes to all pages, and copies them.
    gc.disable()
    for module in (*PACKAGES, *OURS):
        importlib.import_module(module)
    gc.freeze()
    gc.enable()
    if request := serve():
        become(request["command"], cwd=request["cwd"], environ=request["environ"])
