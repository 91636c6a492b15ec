"""A kill before, in and after each named step of a segment's life and of its recovery: all of them.

Each step is taken by a real process on a real file system, and the kill is SIGKILL: the kernel
frees the locks and keeps the ledger, and nobody says goodbye.
"""

import contextlib
import json
import multiprocessing
import os
import pickle
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from tests.conftest import Bench, DictBucket, balance
from workers.disk import Disk
from workers.ledger import Board, Field
from workers.segment import Receipt
from workers.spool import Spool
from workers.spoolfile import SpoolFile

pytestmark = pytest.mark.chaos

# A server that forks quickly, and that no thread of the test's has ever run in.
CONTEXT = multiprocessing.get_context("forkserver")
PATIENCE_SECONDS = 30

LIFE: tuple[str, ...] = ()
RECOVERY: tuple[str, ...] = ()


class Steps:
    """Counts the steps of a process, and kills it at the fatal one."""

    def __init__(self, fatal: str | None) -> None:
        self.passed: list[str] = []
        self._fatal = fatal
        self._times: Counter[str] = Counter()

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[str]:
        """Take one step; gives its full name."""
        self._times[name] += 1
        full = f"{name} {self._times[name]}"
        self.reach(f"before {full}")
        yield full
        self.reach(f"after {full}")

    def reach(self, moment: str) -> None:
        """Come to a moment; perhaps not past it."""
        self.passed.append(moment)
        if moment == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, owner: Any, name: str) -> None:
        """Make a function of somebody's a step."""
        real = getattr(owner, name)

        def stepped(*args: Any, **kwargs: Any) -> Any:
            with self.step(name):
                return real(*args, **kwargs)

        setattr(owner, name, stepped)


class SteppedDisk(Disk):
    """A real disk, each operation of which that changes anything is a step."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        for name in ("create", "reopen", "sync", "truncate", "close", "rename", "unlink"):
            steps.watch(self, name)
        steps.watch(self, "sync_directory")

    def append(self, file: int, buffers: Sequence[bytes]) -> int:
        data = b"".join(buffers)
        with self._steps.step("append") as full:
            half = super().append(file, [data[: len(data) // 2]])
            self._steps.reach(f"in {full}")
            return half + super().append(file, [data[half:]])


class KeptBucket(DictBucket):
    """A bucket in a file, for whoever comes next."""

    def __init__(self, path: Path, steps: Steps | None = None) -> None:
        super().__init__()
        self._path = path
        self._steps = steps or Steps(None)
        if path.exists():
            self.objects = pickle.loads(path.read_bytes())

    def put(self, *args: Any, **kwargs: Any) -> None:
        with self._steps.step("put"):
            super().put(*args, **kwargs)
            self._path.write_bytes(pickle.dumps(self.objects))


class Scene:
    """One spool and one bucket, and the processes that come and go there."""

    def __init__(self, path: Path) -> None:
        self.spool = path / "spool"
        self.objects = path / "objects"
        self._told = path / "told"
        self._passed = path / "passed"
        self._told.touch()

    def play(self, part: Callable[[Bench, Callable[..., None]], None], fatal: str | None) -> bool:
        """Run a part in a process of its own, to its end or to the fatal moment. True: killed."""
        process = CONTEXT.Process(target=self._perform, args=(part, fatal))
        process.start()
        process.join(PATIENCE_SECONDS)
        assert process.exitcode in (0, -signal.SIGKILL), f"ended with {process.exitcode}"
        return process.exitcode != 0

    @property
    def passed(self) -> tuple[str, ...]:
        """Every moment that the last process to end well came through."""
        return tuple(json.loads(self._passed.read_bytes()))

    @property
    def told(self) -> dict[bytes, tuple[str, int]]:
        """The payloads that were answered for, and where they were said to be."""
        answers = map(json.loads, self._told.read_text().splitlines())
        return {payload.encode(): (key, line) for payload, key, line in answers}

    def _perform(self, part: Callable[..., None], fatal: str | None) -> None:
        steps = Steps(fatal)
        for name in ("accept", "begin_finish", "end_finish"):
            steps.watch(Board, name)
        steps.watch(Spool, "_write")
        steps.watch(shutil, "rmtree")
        bench = Bench(
            self.spool, bucket=KeptBucket(self.objects, steps), disk=SteppedDisk(steps)
        )
        part(bench, self._tell)
        self._passed.write_text(json.dumps(steps.passed))

    def _tell(self, payloads: Sequence[bytes], receipts: list[Receipt]) -> None:
        (receipt,) = receipts
        with self._told.open("a") as file:
            for number, payload in enumerate(payloads, receipt.first_line):
                print(json.dumps([payload.decode(), receipt.header.key, number]), file=file)


COLLECTIONS = [(b'{"n":1}', b'{"n":2}'), (b'{"n":3}', b'{"n":4}', b'{"n":5}')]


def live(bench: Bench, tell: Callable[..., None]) -> None:
    """The whole life of a segment: two groups, the seal, the PUT, the end; then the home's."""
    for payloads in COLLECTIONS:
        tell(payloads, bench.accept(*payloads))
    bench.upload_all()
    bench.spool.retire(bench.home)


def recover(bench: Bench, tell: Callable[..., None]) -> None:
    """What a process does with the home of a dead one; it takes nothing itself."""
    del tell
    bench.adopt()
    bench.upload_all()
    bench.adoption.feed()
    bench.spool.retire(bench.home)


def judge(scene: Scene) -> None:
    """Bring home what is left, and hold the promise and the ledger to the last payload."""
    bench = Bench(scene.spool, bucket=KeptBucket(scene.objects))
    homes = bench.adopt()
    totals = bench.totals()
    left = sum(file.survey().lines for home in homes for file in home.backlog)
    assert totals.pending == left
    bench.upload_all()
    lines = {
        key: body[0].splitlines() for key, body in stored(bench).items()
    }
    places = [(line, (key, n)) for key, all in lines.items() for n, line in enumerate(all, 1)]
    found = dict(places)
    assert len(found) == len(places), "stored twice"
    assert {payload: found.get(payload) for payload in scene.told} == scene.told
    for collection in COLLECTIONS:
        assert len(found.keys() & set(collection)) in (0, len(collection)), "half a collection"
    assert balance(bench.totals()) == (len(found), len(found), 0, 0)
    assert [path for path in scene.spool.glob("*/*.*")] == []
    bench.die()
