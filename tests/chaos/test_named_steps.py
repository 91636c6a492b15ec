"""A kill before, in and after each named step of a segment's life and of its recovery: all of them.

Each step is taken by a real process on a real file system, and the kill is SIGKILL: the kernel
frees the locks and keeps the ledger, and nobody says goodbye.
"""

import contextlib
import importlib
import json
import multiprocessing
import os
import pickle
import shutil
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.bench import Bench, balance
from tests.support.doubles import DictBucket
from workers.errors import ObjectRejected
from workers.operate.receipts import DEAD_PREFIX
from workers.segments.segment import Receipt
from workers.spool.counters import Counters
from workers.spool.disk import Disk
from workers.spool.segment_file import OPEN, READY
from workers.spool.spool import Spool
from workers.upload.compression import unpack
from workers.upload.s3 import PutAnswer

pytestmark = pytest.mark.chaos

# A process that no thread has ever run in forks the others, and has imported all they need.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.support.bench"])
PATIENCE_SECONDS = 30

# Of each life: a step's name, and which time it is taken. `accept` counts what is durable.
START = (
    "sync_names 1",  # the spool is tried
    "sync_names 2",  # the home, while it is made
    "rename 1",
    "sync_names 3",  # the spool, once the home is in it
)
LIFE = (
    *START,
    *("create 1", "append 1", "sync 1", "sync_names 4", "close 1", "accept 1"),
    *("append 2", "sync 2", "accept 2"),
    *("append 3", "sync 3", "close 2", "rename 2"),  # the seal
    *("put 1", "begin_finish 1", "unlink 1", "end_finish 1"),
    *("rmtree 1", "_write 1", "rmtree 2"),  # the home is retired
)
BURIAL = (
    *START,
    *("create 1", "append 1", "sync 1", "sync_names 4", "close 1", "accept 1"),
    *("append 2", "sync 2", "close 2", "rename 2"),
    *("put 1", "_write 1", "sync_names 5"),  # refused for good: a dead letter
    *("begin_finish 1", "unlink 1", "end_finish 1"),
    "put 2",  # what tells other machines
)
RECOVERY = (
    *START,
    *("reopen 1", "truncate 1", "sync 1"),
    *("append 1", "sync 2", "close 1", "rename 2"),  # the seal
    *("put 1", "begin_finish 1", "unlink 1", "end_finish 1"),
    *("rmtree 1", "_write 1", "rmtree 2"),  # the dead process's home is retired
    *("rmtree 3", "_write 2", "rmtree 4"),  # and its own
)


def moments(steps: Sequence[str]) -> list[str]:
    """Name every moment to die at; an append is also cut off in its middle."""
    found = []
    for step in steps:
        middle = [f"in {step}"] if step.startswith("append") else []
        found += [f"before {step}", *middle, f"after {step}"]
    return found


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
        steps.watch(self, "sync_names")

    def append(self, file: int, buffers: Sequence[bytes]) -> int:
        data = b"".join(buffers)
        with self._steps.step("append") as full:
            half = super().append(file, [data[: len(data) // 2]])
            self._steps.reach(f"in {full}")
            return half + super().append(file, [data[half:]])


class KeptBucket(DictBucket):
    """A bucket in a file, for whoever comes next; refuses every segment if told to."""

    def __init__(self, path: Path, steps: Steps | None = None) -> None:
        super().__init__()
        self._path = path
        self._steps = steps or Steps(None)
        self.refusing = False
        if path.exists():
            self.objects = pickle.loads(path.read_bytes())

    def put(self, bucket: str, key: str, *args: Any, **kwargs: Any) -> PutAnswer:
        with self._steps.step("put"):
            if not self.refusing or key.startswith(DEAD_PREFIX):
                answer = super().put(bucket, key, *args, **kwargs)
                self._path.write_bytes(pickle.dumps(self.objects))
        if self.refusing and not key.startswith(DEAD_PREFIX):
            raise ObjectRejected("not this one")
        return answer


class Connections:
    """One spool and one bucket, and the processes that come and go there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spool = path / "spool"
        self.objects = path / "objects"
        self._told = path / "told"
        self._passed = path / "passed"
        self._told.touch()

    def play(self, part: str, fatal: str | None = None) -> bool:
        """Run a part in a process of its own, to its end or to the fatal moment. True: killed."""
        # pytest has its own name for this module, by which another process would not find it.
        module = importlib.import_module("tests.chaos.test_named_steps")
        process = CONTEXT.Process(target=module.perform, args=(self.path, part, fatal))
        process.start()
        process.join(PATIENCE_SECONDS)
        assert process.exitcode in (0, -signal.SIGKILL), f"ended with {process.exitcode}"
        return process.exitcode != 0

    @property
    def passed(self) -> list[str]:
        """Every moment that the last process to end well came through."""
        passed: list[str] = json.loads(self._passed.read_bytes())
        return passed

    @property
    def told(self) -> dict[bytes, tuple[str, int]]:
        """The payloads that were answered for, and where they were said to be."""
        answers = map(json.loads, self._told.read_text().splitlines())
        return {payload.encode(): (key, line) for payload, key, line in answers}

    def tell(self, payloads: Sequence[bytes], receipts: list[Receipt]) -> None:
        """Take note of an answer."""
        (receipt,) = receipts
        with self._told.open("a") as file:
            for number, payload in enumerate(payloads, receipt.first_line):
                print(json.dumps([payload.decode(), receipt.header.key, number]), file=file)

    def perform(self, part: str, fatal: str | None) -> None:
        """Be the process of a part."""
        steps = Steps(fatal)
        for name in ("accept", "begin_finish", "end_finish"):
            steps.watch(Counters, name)
        steps.watch(Spool, "_write")
        steps.watch(shutil, "rmtree")
        bucket, disk = KeptBucket(self.objects, steps), SteppedDisk(steps)
        PARTS[part](self, Bench(self.spool, bucket=bucket, disk=disk))
        self._passed.write_text(json.dumps(steps.passed))


def perform(path: Path, part: str, fatal: str | None) -> None:
    """Be the process of a part; what other processes know this module for."""
    Connections(path).perform(part, fatal)


# Where the life ends whose recovery is looked at: a whole group, then half of one.
TORN = "in append 2"
COLLECTIONS = [(b'{"n":1}', b'{"n":2}'), (b'{"n":3}', b'{"n":4}', b'{"n":5}')]


def live(scene: Connections, bench: Bench) -> None:
    """The whole life of a segment: two groups, the seal, the PUT, the end; then the home's."""
    for payloads in COLLECTIONS:
        scene.tell(payloads, bench.accept(*payloads))
    bench.upload_all()
    bench.spool.retire(bench.process_spool)


def bury(scene: Connections, bench: Bench) -> None:
    """The life of a segment that S3 refuses for good."""
    assert isinstance(bench.bucket, KeptBucket)
    bench.bucket.refusing = True
    scene.tell(COLLECTIONS[0], bench.accept(*COLLECTIONS[0]))
    bench.upload_all()


def recover(_: Connections, bench: Bench) -> None:
    """What a process does with the home of a dead one; it takes nothing itself."""
    bench.adopt()
    bench.upload_all()
    bench.adoption.feed()
    bench.spool.retire(bench.process_spool)


PARTS = {"life": live, "burial": bury, "recovery": recover}


def judge(scene: Connections, *, refusing: bool = False) -> None:
    """Bring home what is left, and hold the promise and the ledger to the last payload."""
    bucket = KeptBucket(scene.objects)
    bucket.refusing = refusing
    bench = Bench(scene.spool, bucket=bucket)
    left = sum(
        file.survey().lines for process_spool in bench.adopt() for file in process_spool.backlog
    )
    assert bench.totals().pending == left
    bench.upload_all()
    places = [
        (line, (key, number))
        for key, (body, _, encoding) in bucket.objects.items()
        if not key.startswith(DEAD_PREFIX)
        for number, line in enumerate(unpack(body, compression=encoding).splitlines(), 1)
    ]
    letters = sorted((scene.spool / "dead").glob("*.ndjson"))
    dead = [line for path in letters for line in path.read_bytes().splitlines()]
    found = dict(places)
    assert len(found) == len(places), "stored twice"
    for collection in COLLECTIONS:
        assert len({*found, *dead} & set(collection)) in (0, len(collection)), "half a collection"
    if refusing:
        assert not found
        assert set(scene.told) <= set(dead)
    else:
        assert not dead
        assert {payload: found.get(payload) for payload in scene.told} == scene.told
    assert balance(bench.totals()) == (len(found) + len(dead), len(found), 0, len(dead))
    assert [path for path in scene.spool.glob("*/*") if path.suffix in (OPEN, READY)] == []
    bench.die()


@pytest.fixture
def scene(tmp_path: Path) -> Connections:
    """Set an empty scene."""
    return Connections(tmp_path)


def test_a_life_takes_the_named_steps(scene: Connections) -> None:
    """No step of a segment's life is left out here, and none is only in the list."""
    assert not scene.play("life")
    assert scene.passed == moments(LIFE)
    assert len(scene.told) == 5
    judge(scene)


def test_a_recovery_takes_the_named_steps(scene: Connections) -> None:
    """The same for the recovery of a segment whose second group was cut off."""
    assert scene.play("life", TORN)
    assert not scene.play("recovery")
    assert scene.passed == moments(RECOVERY)
    assert len(scene.told) == 2
    judge(scene)


def test_a_burial_takes_the_named_steps(scene: Connections) -> None:
    """The same for the life of a segment that becomes a dead letter."""
    assert not scene.play("burial")
    assert scene.passed == moments(BURIAL)
    judge(scene, refusing=True)


@pytest.mark.parametrize("moment", moments(LIFE))
def test_a_kill_at_each_step_of_a_life(scene: Connections, moment: str) -> None:
    """What was answered for is stored once, and the ledger is exact, wherever the kill came."""
    assert scene.play("life", moment)
    judge(scene)


@pytest.mark.parametrize("moment", moments(RECOVERY[len(START) :]))
def test_a_kill_at_each_step_of_a_recovery(scene: Connections, moment: str) -> None:
    """The same when the process that recovers a torn segment is killed in its turn."""
    assert scene.play("life", TORN)
    assert scene.play("recovery", moment)
    judge(scene)


@pytest.mark.parametrize("moment", moments(BURIAL[len(START) :]))
def test_a_kill_at_each_step_of_a_burial(scene: Connections, moment: str) -> None:
    """A dead letter is written once and counted once, wherever the kill came."""
    assert scene.play("burial", moment)
    judge(scene, refusing=True)
