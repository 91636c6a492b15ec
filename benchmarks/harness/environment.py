"""Where a run's files go, who sends the load, what stands for S3, and how a contender is started.

Everything is on loopback. Knows nothing of what is measured.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ROOT
from benchmarks.harness import conditions
from benchmarks.harness.contenders import Contender
from benchmarks.harness.running import Running
from benchmarks.harness.s3_sink import Sink, find_sink
from benchmarks.load.closed_loop import Load
from benchmarks.load.python_loop import PythonLoop
from benchmarks.load.wrk import Wrk

OUT = ROOT / "build" / "bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The load and the S3 sink, and where files go: `workdir` for a run's, `out` for results."""

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
        """Return the conditions of the runs, by name."""
        return {
            "cores": f"{len(os.sched_getaffinity(0))} of {conditions.processor()}",
            "load average before": conditions.load_average(),
            "python": conditions.python_build(),
            "load": self.load.about,
            "s3": self.sink.about,
            "spool on": conditions.spool_file_system(self.workdir),
        }


@contextlib.contextmanager
def open_bench(out: Path) -> Iterator[Bench]:
    """Find the installed tools, print which are missing, and make directories for the files."""
    # The servers that are started run in other directories.
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    # Results belong to the machine that they were made on.
    (out / ".gitignore").write_text("*\n")
    if missing := conditions.lacking_tools():
        print(missing, flush=True)
    # The spool must be on a disk like the one it is for; /tmp is often memory.
    with tempfile.TemporaryDirectory(dir=out, prefix="run-") as directory:
        workdir = Path(directory)
        yield Bench(load=find_load(workdir), sink=find_sink(workdir), workdir=workdir, out=out)


def find_load(workdir: Path) -> Load:
    """Return the best sender that is installed."""
    program = shutil.which("wrk")
    return Wrk(workdir, program=program) if program else PythonLoop()
