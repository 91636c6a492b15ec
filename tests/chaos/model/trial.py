"""A trial: some lives of a service, ended at any step, and what is left after the last.

A trial is its seed: `Trial(seed).run()` repeats it.
"""

import struct
from collections.abc import Callable
from random import Random

from tests.chaos.model.disk import SimDisk
from tests.chaos.model.findings import Findings, Place
from tests.chaos.model.fuse import Died, Fuse
from tests.chaos.model.judgement import check_ledger, judge
from tests.chaos.model.process import SETTINGS, PendingAnswer, Process
from tests.chaos.model.s3 import MemoryS3, NeverThroughError
from tests.chaos.model.spool import ROOT, SimSpool
from workers.errors import (
    NotConfirmed,
    NotDurable,
    Refusal,
)

MAX_ROUNDS = 500
# What ends a broken trial early; struct.error comes of a damaged frame that is not checked.
FINDINGS = (AssertionError, NeverThroughError, struct.error)


class Trial:
    """Some lives of a service, its ends at any step, and what is left after the last."""

    def __init__(
        self,
        seed: int,
        *,
        disk: type[SimDisk] = SimDisk,
        bucket: type[MemoryS3] = MemoryS3,
        conditional: bool = True,
    ) -> None:
        rng = self._rng = Random(seed)
        self._fuse = Fuse()
        self._disk = disk(ROOT, rng=rng, fuse=self._fuse)
        self._bucket = bucket(rng=rng, fuse=self._fuse, conditional=conditional)
        self._spool = SimSpool(self._disk, rng=rng)
        self._processes: list[Process] = []
        self._acting: Process | None = None
        self._sent = 0
        self.acknowledged: dict[int, Place] = {}
        self.refused: set[int] = set()
        # What was damaged on purpose, and may be lost.
        self.harmed: set[int] = set()
        self.cuts = 0
        # A sync has failed somewhere: what became of its bytes is unknown.
        self._uncertain = False

    def run(self) -> Findings:
        """Play the trial.

        Raises:
            Exception: one that no trial provokes: the code, or the model, is wrong in another way.
        """
        try:
            self._play()
            self._drain()
            return judge(
                self._bucket.lines(),
                acknowledged=self.acknowledged,
                refused=self.refused,
                harmed=self.harmed,
                spool=self._spool,
                cuts=self.cuts,
                uncertain=self._uncertain,
            )
        except FINDINGS as error:
            return Findings(lost=[], twice=[], faults=[f"{type(error).__name__}: {error}"])

    def _play(self) -> None:
        for _ in range(self._rng.randint(1, 3)):
            self._live()

    def _live(self) -> None:
        """Go on until a death, with two processes at times, the first perhaps from before."""
        rng = self._rng
        # A process ends after so many steps, or when nothing is left to do.
        self._fuse.left = rng.randrange(1, 600)
        try:
            for _ in range(rng.choice((1, 1, 2)) - (len(self._processes) > 1)):
                self._start()
            for _ in range(rng.randrange(8, 60)):
                self._act(rng.choice(self._processes))
            self._acting = rng.choice(self._processes)
            (last,) = rng.choices((self._commit_and_die, self._overflow, self._stop), (3, 2, 1))
            last(self._acting)
        except Died:
            pass
        finally:
            self._fuse.left = None
            self._collect_answers()
        self._die()

    def _start(self) -> None:
        self._acting = None
        settings = self._rng.choice(SETTINGS)
        process = Process(self._spool, bucket=self._bucket, settings=settings)
        self._processes.append(process)
        check_ledger(process, self._disk)

    def _act(self, process: Process) -> None:
        """Let one process do one thing, and then its ledgers balance."""
        self._acting = process
        acts: list[tuple[int, Callable[[Process], object]]] = [
            (9, self._accept),
            (3, Process.commit),
            (3, Process.seal),
            (6, Process.upload),
            (1, Process.adopt),
            (1, self._disturb_disk),
        ]
        (act,) = self._rng.choices([act for _, act in acts], [weight for weight, _ in acts])
        act(process)
        self._collect_answers()
        check_ledger(process, self._disk)

    def _accept(self, process: Process) -> None:
        """Take some collections, which are then one group, and mostly commit them."""
        for _ in range(self._rng.randint(1, 5)):
            stream, count = self._rng.choice("aab"), self._rng.choice((1, 1, 2, 3, 5, 15))
            self._send(process, stream=stream, count=count)
        if self._rng.random() < 0.7:
            process.commit()

    def _send(self, process: Process, *, stream: str, count: int) -> None:
        ids = list(range(self._sent, self._sent + count))
        self._sent += count
        try:
            process.accept(stream, ids)
        except Refusal:
            self.refused.update(ids)

    def _commit_and_die(self, process: Process) -> None:
        """End where most depends on it: between an append and the answer, or soon after."""
        self._fuse.left = self._rng.randrange(1, 15)
        self._accept(process)
        process.commit()

    def _overflow(self, process: Process) -> None:
        """Accept more than there is room for; the end comes right after, or on the way.

        For two segments: the frame of one may be whole when there is no room for the other's.
        """
        self._disk.room = None
        while process.upload():
            pass
        process.seal()
        for stream in "ab":
            self._send(process, stream=stream, count=1)
        process.commit()
        for _ in range(self._rng.randint(2, 10)):
            self._send(process, stream=self._rng.choice("ab"), count=1)
        self._disk.room = self._rng.randint(0, process.committer.waiting_bytes)
        if self._rng.random() < 0.3:
            self._fuse.left = self._rng.randrange(1, 15)
        process.commit()

    def _stop(self, process: Process) -> None:
        process.stop(self._rng.randrange(4))

    def _disturb_disk(self, process: Process) -> None:
        """Fill the disk, or empty it; write ledgers back; rarely, let the disk fail."""
        del process
        kind = self._rng.random()
        if kind < 0.5:
            self._disk.room = self._rng.choice((None, None, 0, self._rng.randrange(3000)))
        elif kind < 0.96:
            for ledger in self._spool.counters_by_name.values():
                ledger.flush()
        else:
            self._disk.failing = self._uncertain = True

    def _collect_answers(self) -> None:
        """Note what clients were answered. A process that ended before that promised nothing."""
        for process in self._processes:
            waiting = []
            for asked in process.asked:
                if not asked.future.done:
                    waiting.append(asked)
                else:
                    self._take_answer(asked)
            process.asked = waiting

    def _take_answer(self, asked: PendingAnswer) -> None:
        try:
            asked.future.result()
        except NotConfirmed:
            # After a failed sync the collection may be on the disk, and the answer says so.
            return
        except NotDurable:
            self.refused.update(asked.ids)
            return
        places = (
            Place(receipt.header.key, receipt.first_line + n)
            for receipt in asked.receipts
            for n in range(receipt.count)
        )
        self.acknowledged.update(zip(asked.ids, places, strict=True))

    def _die(self) -> None:
        """End by a power cut, a kill of all processes, or a kill of the one that acted last."""
        kind = self._rng.random()
        if kind < 0.6:
            self._cut_power()
        others = [process for process in self._processes if process is not self._acting]
        if self._disk.failing:
            # Each process learns of it at its next sync, and accepts nothing from then on.
            others = []
        self._end_processes(survivors=others if kind > 0.85 and self._acting is not None else [])

    def _cut_power(self) -> None:
        self.cuts += 1
        self._disk.power_cut()
        for ledger in self._spool.counters_by_name.values():
            if self._rng.random() < 0.5:
                ledger.power_cut()

    def _end_processes(self, *, survivors: list[Process]) -> None:
        for process in self._processes:
            if process not in survivors:
                process.shared.end()
        self._processes = survivors
        self._spool.owned &= {
            process_spool.path.name for alive in survivors for process_spool in alive.process_spools
        }
        self._disk.failing = False

    def _drain(self) -> None:
        """With nothing left to go wrong but S3, one more process uploads everything."""
        self._disk.room = None
        self._end_processes(survivors=[])
        self._start()
        self._upload_all(self._processes[0])

    def _upload_all(self, last: Process) -> None:
        for _ in range(MAX_ROUNDS):
            last.adopt()
            last.seal()
            while last.upload():
                pass
            check_ledger(last, self._disk)
            if self._spool.process_paths() == [last.process_spool.path] and (
                last.process_spool.empty
            ):
                return last.stop(0)
        raise AssertionError("what is left is never uploaded")
