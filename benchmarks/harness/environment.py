"""The place of every run: where its files go, who loads, what stands for S3, and how it is started.

Everything is on loopback. Knows the contenders, and not what is asked of them.
"""

import contextlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ROOT
from benchmarks.harness.contenders import Contender
from benchmarks.harness.running import Running
from benchmarks.harness.s3_sink import Sink, find_sink
from benchmarks.harness.servers import lacking
from benchmarks.load.closed_loop import Load, find_load

OUT = ROOT / "build" / "bench"
IN_MEMORY = ("tmpfs", "ramfs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The two ends, and where files go: `workdir` for a run's, `out` for what stays."""

    load: Load
    sink: Sink
    workdir: Path
    out: Path
    # The program built from Go, if it was.
    original: Path | None = None

    @contextlib.contextmanager
    def running(
        self, contender: Contender, settings: Mapping[str, str] | None = None
    ) -> Iterator[Running]:
        """Start a new sink and a new contender, ready for requests; kill both in the end.

        The sink can be asked for its PUTs meanwhile.

        Raises:
            AssertionError: the contender does not start.
        """
        with self.sink as sink, tempfile.TemporaryDirectory(dir=self.workdir) as directory:
            given = {**sink.settings, **(settings or {})}
            with Running(
                contender,
                s3=sink.s3,
                workdir=Path(directory),
                settings=given,
                original=self.original,
            ) as running:
                yield running

    def about(self) -> dict[str, object]:
        """Say under which conditions runs are made here."""
        kind = file_system(self.workdir)
        warning = ": fsync costs nothing there, so that disk looks like memory"
        return {
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
            "load": self.load.about,
            "s3": self.sink.about,
            "spool on": kind + (warning if kind in IN_MEMORY else ""),
        }


@contextlib.contextmanager
def open_bench(out: Path) -> Iterator[Bench]:
    """Find the tools that are installed, say which are not, and make room for the runs' files."""
    out.mkdir(parents=True, exist_ok=True)
    # A result is of the machine that it was made on.
    (out / ".gitignore").write_text("*\n")
    if missing := lacking_tools():
        print(missing, flush=True)
    # The spool must be on a disk like the one it is for; /tmp is often memory.
    with tempfile.TemporaryDirectory(dir=out, prefix="run-") as directory:
        workdir = Path(directory)
        yield Bench(load=find_load(workdir), sink=find_sink(workdir), workdir=workdir, out=out)


def lacking_tools() -> str:
    """Say in a line which programs would make the bench better, or nothing."""
    packages = {"wrk": shutil.which("wrk"), "nginx-light": shutil.which("nginx", path=_path())}
    missing = [name for name, found in packages.items() if not found]
    if lacking("original"):
        missing += ["golang-go", "golang-github-aws-aws-sdk-go-dev"]
    if not missing:
        return ""
    return f"The bench says more with: apt-get install -y {' '.join(missing)}. It goes on without."


def file_system(path: Path) -> str:
    """Return the type of the file system that a path is on (proc(5), mountinfo)."""
    found = {"/": "unknown"}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        found[left.split()[4]] = right.split()[0]
    within = (str(at) for at in (path.resolve(), *path.resolve().parents))
    return next(found[at] for at in within if at in found)


def _path() -> str:
    # Debian has nginx in /usr/sbin, which is not on everybody's path.
    return f"{os.environ.get('PATH', '')}:/usr/sbin"
