"""A process that counts the steps of a segment's life, and is killed at one of them."""

import contextlib
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

from tests.support.bench import Bench
from tests.support.doubles import DictBucket
from workers.errors import ObjectRejected
from workers.segments.segment import Receipt
from workers.spool import spool as spool_module
from workers.spool.counters import Counters
from workers.spool.disk import Buffer, Disk
from workers.upload.s3 import PutAnswer

# A process that no thread has ever run in forks the others, and has imported all they need.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])
PROCESS_SECONDS = 30


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
        """Make a function of another module a step."""
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

    def write_at(self, file: int, buffers: Sequence[Buffer], start: int) -> int:
        data = b"".join(buffers)
        with self._steps.step("write") as full:
            # Of what is no zeros: those are only for what comes later.
            half = super().write_at(file, [data[: len(data.rstrip(b"\0")) // 2]], start)
            self._steps.reach(f"in {full}")
            return half + super().write_at(file, [data[half:]], start + half)


class KeptBucket(DictBucket):
    """A bucket in a file, which later processes see; refuses every segment if `refusing`."""

    def __init__(self, path: Path, steps: Steps | None = None) -> None:
        super().__init__()
        self._path = path
        self._steps = steps or Steps(None)
        self.refusing = False
        if path.exists():
            self.objects = pickle.loads(path.read_bytes())

    def put(self, bucket: str, key: str, *args: Any, **kwargs: Any) -> PutAnswer:
        with self._steps.step("put"):
            if not self.refusing:
                answer = super().put(bucket, key, *args, **kwargs)
                self._keep()
        if self.refusing:
            raise ObjectRejected("not this one")
        return answer

    def put_note(self, bucket: str, key: str, content: bytes) -> None:
        with self._steps.step("put"):
            super().put_note(bucket, key, content)
            self._keep()

    def _keep(self) -> None:
        self._path.write_bytes(pickle.dumps(self.objects))


class Scenario:
    """One spool and one bucket, and the processes that come and go there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spool = path / "spool"
        self.objects = path / "objects"
        self._answered = path / "answered"
        self._passed = path / "passed"
        self._answered.touch()

    def play(self, part: str, fatal: str | None = None) -> bool:
        """Run a part in a process of its own, to its end or to the fatal moment. True: killed."""
        process = CONTEXT.Process(target=_perform, args=(self.path, part, fatal))
        process.start()
        process.join(PROCESS_SECONDS)
        assert process.exitcode in (0, -signal.SIGKILL), f"ended with {process.exitcode}"
        return process.exitcode != 0

    @property
    def passed(self) -> list[str]:
        """Every moment that the last process to end well came through."""
        passed: list[str] = json.loads(self._passed.read_bytes())
        return passed

    @property
    def answered(self) -> dict[bytes, tuple[str, int]]:
        """The payloads that were answered for, and where they were said to be."""
        answers = map(json.loads, self._answered.read_text().splitlines())
        return {payload.encode(): (key, line) for payload, key, line in answers}

    def note(self, payloads: Sequence[bytes], receipts: list[Receipt]) -> None:
        """Take note of an answer."""
        (receipt,) = receipts
        with self._answered.open("a") as file:
            for number, payload in enumerate(payloads, receipt.first_line):
                print(json.dumps([payload.decode(), receipt.header.key, number]), file=file)

    def perform(self, part: str, fatal: str | None) -> None:
        """Carry out a part in this process."""
        steps = Steps(fatal)
        for name in ("accept", "begin_finish", "end_finish"):
            steps.watch(Counters, name)
        steps.watch(spool_module, "write_document")
        steps.watch(shutil, "rmtree")
        bucket, disk = KeptBucket(self.objects, steps), SteppedDisk(steps)
        PARTS[part](self, Bench(self.spool, bucket=bucket, disk=disk))
        self._passed.write_text(json.dumps(steps.passed))


def _perform(path: Path, part: str, fatal: str | None) -> None:
    Scenario(path).perform(part, fatal)


# Where the life ends whose recovery is looked at: a whole group, then half of one.
TORN = "in write 2"
COLLECTIONS = [(b'{"n":1}', b'{"n":2}'), (b'{"n":3}', b'{"n":4}', b'{"n":5}')]


def live(scenario: Scenario, bench: Bench) -> None:
    """The whole life of a segment: two groups, the seal, the PUT, the removal of its file."""
    for payloads in COLLECTIONS:
        scenario.note(payloads, bench.accept(*payloads))
    bench.upload_all()
    bench.spool.retire(bench.process_spool)


def bury(scenario: Scenario, bench: Bench) -> None:
    """The life of a segment that S3 refuses for good."""
    assert isinstance(bench.bucket, KeptBucket)
    bench.bucket.refusing = True
    scenario.note(COLLECTIONS[0], bench.accept(*COLLECTIONS[0]))
    bench.upload_all()


def recover(_: Scenario, bench: Bench) -> None:
    """Recover the spool of a killed process; nothing new is accepted."""
    bench.adopt()
    bench.upload_all()
    bench.feed()
    bench.spool.retire(bench.process_spool)


PARTS = {"life": live, "burial": bury, "recovery": recover}
