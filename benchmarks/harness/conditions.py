"""The conditions of a run: the machine, the Python build, the file system, the missing tools."""

import os
import platform
import shutil
import sys
import sysconfig
from pathlib import Path

from benchmarks.harness.servers import lacking

IN_MEMORY = ("tmpfs", "ramfs")


def python_build() -> str:
    """Describe this Python: its version, compiler, and the optimisations its build was asked for.

    A build with PGO takes some 8 % less CPU than one without, so that two do not compare. Debian's
    has it by a make target of its own, which its configuration does not show.
    """
    given = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    pgo = "with PGO" if "--enable-optimizations" in given else "no PGO in its configuration"
    lto = "with" if "--with-lto" in given and "--with-lto=no" not in given else "without"
    # sys._is_gil_enabled is there from Python 3.13 on.
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return (
        f"{platform.python_implementation()} {platform.python_version()},"
        f" {platform.python_compiler()}, {pgo}, {lto} LTO, {'GIL' if gil else 'free-threaded'}"
    )


def processor() -> str:
    """Return the name of the processor (proc(5), cpuinfo), or the architecture."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def load_average() -> str:
    """Return how busy the machine was in the last minute, with a warning where it was not idle."""
    minute = os.getloadavg()[0]
    note = "" if minute < 0.5 else ": NOT IDLE, figures are not to be quoted"
    return f"{minute:.2f}{note}"


def spool_file_system(path: Path) -> str:
    """Return the type of the file system under the spool, with a warning where it is memory."""
    kind = file_system(path)
    warning = ": fsync costs nothing there, so that disk looks like memory"
    return kind + (warning if kind in IN_MEMORY else "")


def file_system(path: Path) -> str:
    """Return the type of the file system that a path is on (proc(5), mountinfo)."""
    found = {"/": "unknown"}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        found[left.split()[4]] = right.split()[0]
    within = (str(at) for at in (path.resolve(), *path.resolve().parents))
    return next(found[at] for at in within if at in found)


def lacking_tools() -> str:
    """Return a line that names the programs to install for a better bench; empty if none."""
    # Debian has nginx in /usr/sbin, which is not on everybody's path.
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    packages = {"wrk": shutil.which("wrk"), "nginx-light": shutil.which("nginx", path=path)}
    missing = [name for name, found in packages.items() if not found]
    if lacking("original"):
        missing += ["golang-go", "golang-github-aws-aws-sdk-go-dev"]
    if not missing:
        return ""
    return f"For a better bench: apt-get install -y {' '.join(missing)}. It goes on without."
