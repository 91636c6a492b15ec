"""The promise on trial: the real intake, journal, adoption and uploader on a simulated disk and S3.

One thread plays all the parts, so that a process can die at any step of any of them, and thousands
of lives pass in seconds. A trial is its seed: `Trial(seed).run()` repeats it.
"""

import contextlib
import dataclasses
import logging
import mmap
import queue
import re
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from tests.chaos.simdisk import Died, Fuse, SimDisk
from workers.dispatch.backoff import Backoff
from workers.errors import (
    Abandoned,
    NotDurable,
    ObjectExists,
    ObjectMissing,
    Refusal,
    StoreUnavailable,
)
from workers.intake.intake import Intake
from workers.operate.receipts import DEAD_PREFIX
from workers.segments.future import DurabilityFuture
from workers.segments.ratios import Ratios
from workers.segments.segment import Header, Receipt
from workers.settings import Settings, load_settings
from workers.spool.adoption import Adoption
from workers.spool.committer import FEW_FILES, Committer
from workers.spool.counters import CELLS, COUNTERS_BYTES, Counters, Field
from workers.spool.process_spool import ProcessSpool
from workers.spool.segment_file import SegmentFile
from workers.spool.spool import Spool
from workers.upload.compression import unpack
from workers.upload.s3 import REASONS, Bucket, Stored
from workers.upload.uploader import Uploader

if TYPE_CHECKING:
    from workers.dispatch.jobs import JobQueue

ROOT = Path("/spool")
PAYLOAD = re.compile(rb'\{"id":(\d+),"pad":"(x*)"\}')
# With a third of all PUTs failing, this many failures in a row mean that none will get through.
MAX_ATTEMPTS = 200
MAX_ROUNDS = 500


class Place(NamedTuple):
    """A line of an object; the first line is 1."""

    key: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came of many trials, in payloads; `cuts` is power cuts, `faults` what else was wrong."""

    trials: int
    acknowledged: int
    lost: int
    stored_twice: int
    cuts: int
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is wrong after one trial: ids of payloads, and sentences. All empty when all is well."""

    lost: list[int]
    twice: list[int]
    faults: list[str]

    @property
    def clean(self) -> bool:
        """Whether the promise was kept."""
        return not (self.lost or self.twice or self.faults)


def run_model(
    trials: int,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
    *,
    make: Callable[[int], "Trial"] | None = None,
) -> Figures:
    """Run the trials `seed`, `seed + 1`, ...; tell `progress` how many are done. Blocks meanwhile.

    A run that keeps the promise has none lost, none stored twice and no `faults`.
    """
    acknowledged = lost = twice = cuts = 0
    faults: list[str] = []
    with _unlogged():
        for number in range(trials):
            trial = (make or Trial)(seed + number)
            found = trial.run()
            acknowledged += len(trial.acknowledged)
            lost += len(found.lost)
            twice += len(found.twice)
            cuts += trial.cuts
            faults += [f"trial {seed + number}: {fault}" for fault in found.faults]
            if progress is not None:
                progress(number + 1)
    return Figures(
        trials=trials,
        acknowledged=acknowledged,
        lost=lost,
        stored_twice=twice,
        cuts=cuts,
        faults=tuple(faults),
    )


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """Keep what goes wrong on purpose, some hundred thousand times, out of the log."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _settings(compression: str) -> Settings:
    given = load_settings(
        {
            "S3_BUCKET": "bucket",
            "SPOOL_DIR": str(ROOT),
            "COMPRESSION": compression,
            "OBJECT_MAX_PAYLOADS": "12",
            "OBJECT_TARGET_BYTES": "4096",
            "MAX_QUEUE": "6",
        }
    )
    # Old enough at once: when a segment is sealed is for the trial to choose.
    return dataclasses.replace(given, object_max_age_seconds=0.0)


SETTINGS = [_settings(compression) for compression in ("none", "gzip", "zstd")]


# --- The far edge ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Object:
    body: bytes
    metadata: dict[str, str]
    encoding: str | None
    etag: str


class MemoryS3(Bucket):
    """A bucket in memory that fails, loses answers, and now and then keeps half a body.

    Of all calls 20 % fail with nothing done; of those that do something 15 % lose their answer.
    """

    def __init__(self, *, rng: Random, fuse: Fuse, conditional: bool = True) -> None:
        super().__init__(None, conditional=conditional)
        self.objects: dict[str, _Object] = {}
        self._rng = rng
        self._fuse = fuse
        self._puts = 0

    def put(
        self, bucket: str, key: str, body: bytes, *, metadata: dict[str, str], encoding: str | None
    ) -> None:
        del bucket
        self._begin()
        if self._conditional and key in self.objects:
            raise ObjectExists(key)
        if self._rng.random() < 0.03:
            # S3 does no such thing; some that speak its protocol have.
            self._keep(key, body[: self._rng.randint(0, len(body))], metadata, encoding)
            raise StoreUnavailable("cut off", reason="network")
        self._keep(key, body, metadata, encoding)
        self._end()

    def replace(
        self,
        bucket: str,
        key: str,
        body: bytes,
        *,
        etag: str,
        metadata: dict[str, str],
        encoding: str | None,
    ) -> None:
        del bucket
        self._begin()
        if self._get(key).etag != etag:
            raise StoreUnavailable("changed meanwhile", reason="other")
        self._keep(key, body, metadata, encoding)
        self._end()

    def head(self, bucket: str, key: str) -> Stored:
        del bucket
        self._begin()
        found = self._get(key)
        return Stored(size=len(found.body), metadata=found.metadata, etag=found.etag, modified=0.0)

    def lines(self) -> Iterator[tuple[Place, bytes]]:
        """Yield every line that is stored, and where.

        Raises:
            AssertionError: an object is not whole.
        """
        for key, found in self.objects.items():
            if key.startswith(DEAD_PREFIX):
                continue
            try:
                text = unpack(found.body, compression=found.encoding)
            except Exception as error:
                raise AssertionError(f"{key} is not whole") from error
            for number, line in enumerate(text.split(b"\n")[:-1], 1):
                yield Place(key, number), line

    def _begin(self) -> None:
        self._fuse.burn()
        if self._rng.random() < 0.2:
            raise StoreUnavailable("not now", reason=self._rng.choice(REASONS))

    def _end(self) -> None:
        self._fuse.burn()
        if self._rng.random() < 0.15:
            raise StoreUnavailable("the answer is lost", reason="network")

    def _get(self, key: str) -> _Object:
        if key not in self.objects:
            raise ObjectMissing(key)
        return self.objects[key]

    def _keep(self, key: str, body: bytes, metadata: dict[str, str], encoding: str | None) -> None:
        self._puts += 1
        self.objects[key] = _Object(body, metadata, encoding, str(self._puts))


class NeverThroughError(Exception):
    """However often it is tried, S3 never takes it."""


class Impatience(Backoff):
    """An outage that nobody sleeps through."""

    def wait(self, attempt: int) -> None:
        """Return at once; raise where trying again has become pointless."""
        if attempt > MAX_ATTEMPTS:
            raise NeverThroughError(f"failed {attempt} times in a row")
        self.check()


# --- The spool's directory ------------------------------------------------------------------------


class Ledger(Counters):
    """A board in memory, and what the kernel has written of it to the disk so far."""

    def __init__(self) -> None:
        memory = mmap.mmap(-1, COUNTERS_BYTES)
        super().__init__(memory)
        self._written = bytes(COUNTERS_BYTES)

    def flush(self) -> None:
        """Write the counters to the disk, as the kernel does now and then by itself."""
        self._written = self._memory[:]

    def power_cut(self) -> None:
        """Go back to what was written."""
        self._memory[:] = self._written


class SimHome(ProcessSpool):
    """A home whose ledger is in memory and whose lock is the trial's word."""

    def __init__(
        self, path: Path, *, counters: Counters, disk: SimDisk, release: Callable[[Path], None]
    ) -> None:
        self.path = path
        self.counters = counters
        self.backlog = deque()
        self._held = {}
        self._disk = disk
        self._lock = threading.Lock()
        self._lock_file = -1
        self._release = release

    def close(self) -> None:
        self.reset_gauges()
        self._release(self.path)


class SimSpool(Spool):
    """The homes of one trial as one process sees them: it may adopt those that nobody owns.

    Totals and dead letters are kept in memory, as if always durable: the model is about segments.
    """

    def __init__(self, disk: SimDisk, *, rng: Random) -> None:
        super().__init__(ROOT, disk=disk)
        self.ledgers: dict[str, Ledger] = {}
        self.owned: set[str] = set()
        self.retired = [0] * CELLS
        self.dead: dict[str, bytes] = {}
        self.quarantined: list[str] = []
        self._sim = disk
        self._rng = rng

    def chance(self, choices: Sequence[int]) -> int:
        """Choose by the trial's chance."""
        return self._rng.choice(choices)

    def create_process_spool(self) -> ProcessSpool:
        path = ROOT / f"{self._rng.getrandbits(128):032x}"
        self._sim.make_directory(path)
        self._sim.sync_directory(ROOT)
        return self._own(path)

    def adopt_orphans(self) -> Iterator[ProcessSpool]:
        for name in self._sim.names(ROOT):
            if name not in self.owned:
                yield self._own(ROOT / name)

    def retire(self, process_spool: ProcessSpool) -> None:
        assert not process_spool.segment_files(), "a home is removed with segments in it"
        self.retired = [
            a + b for a, b in zip(self.retired, process_spool.counters.snapshot(), strict=True)
        ]
        self._sim.remove_directory(process_spool.path)
        del self.ledgers[process_spool.path.name]
        process_spool.close()

    def keep_dead(
        self, header: Header, runs: Iterable[bytes], *, reason: str, payloads: int
    ) -> None:
        del reason, payloads
        self.dead[header.name] = b"".join(runs)

    def drop_dead(self, name: str) -> None:
        self.dead.pop(name, None)

    def quarantine(self, file: SegmentFile, *, reason: str) -> None:
        self.quarantined.append(f"{file.path.name}: {reason}")

    def count(self, field: Field) -> int:
        """Return a counter of the whole service."""
        return self.retired[field] + sum(ledger[field] for ledger in self.ledgers.values())

    def _own(self, path: Path) -> ProcessSpool:
        self.owned.add(path.name)
        counters = self.ledgers.setdefault(path.name, Ledger())
        release = lambda path: self.owned.discard(path.name)  # noqa: E731
        return SimHome(path, counters=counters, disk=self._sim, release=release)


# --- A process ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """One collection that a client waits for an answer to."""

    ids: list[int]
    receipts: list[Receipt]
    future: DurabilityFuture


class Desk(Committer):
    """The committer, run when it is called for: there is one thread, and it cannot wait."""

    @property
    def has_work(self) -> bool:
        """Whether `step` would find something to do."""
        return not self._inbox.empty()


class Process:
    """One process's pipeline without its threads: what each would do is a method."""

    def __init__(self, spool: SimSpool, *, bucket: Bucket, settings: Settings) -> None:
        self.process_spool = spool.create_process_spool()
        self.process_spool.counters[Field.DURABLE] = 1
        self.process_spool.counters.flush()
        self.jobs: JobQueue = queue.Queue(maxsize=settings.max_queue)
        # Now and then any two files are many: they are synced all at once.
        few = spool.chance((1, FEW_FILES))
        self.committer = Desk(
            self.process_spool.counters, sync_all=self.process_spool.sync_all, few=few
        )
        self.asked: list[Asked] = []
        self._spool = spool
        ratios = Ratios(most=8)
        self.intake = Intake(
            settings,
            process_spool=self.process_spool,
            jobs=self.jobs,
            committer=self.committer,
            new_body=self.process_spool.new_file,
            ratios=ratios,
        )
        self.adoption = Adoption(spool, self.intake)
        self._uploader = Uploader(
            bucket, spool=spool, backoff=Impatience(), ratios=ratios, on_done=lambda: None
        )
        self.adopt()

    @property
    def process_spools(self) -> list[ProcessSpool]:
        """The homes that are this process's."""
        return [self.process_spool, *self.adoption.process_spools]

    def accept(self, stream: str, ids: list[int]) -> None:
        """Take a collection.

        Raises:
            Refusal: it was turned away at the door.
        """
        lines = b"".join(map(payload, ids))
        future = self.intake.take(stream, lines, count=len(ids))
        self.asked.append(Asked(ids, future.receipts(), future))

    def commit(self) -> None:
        """Be the committer until there is nothing left to commit."""
        while self.committer.has_work:
            self.committer.step()

    def adopt(self) -> None:
        """Be the adopter: one look."""
        self.adoption.look(stopping=lambda: False)

    def seal(self) -> None:
        """Be the sealer: one round."""
        self.intake.seal_due()
        self.adoption.feed()

    def upload(self) -> bool:
        """Be the dispatcher and a worker for one job. False where there is none."""
        try:
            job = self.jobs.get_nowait()
        except queue.Empty:
            return False
        self.intake.on_room()
        assert job is not None
        self.commit()
        assert job.segment.frozen.is_set(), "a worker would wait for ever"
        with contextlib.suppress(Abandoned):
            self._uploader.upload(job)
        return True

    def stop(self, uploads: int) -> None:
        """Stop in order, with time for so many uploads."""
        self.intake.close()
        jobs = self.intake.freeze_all()
        self.commit()
        for job in jobs:
            with contextlib.suppress(queue.Full):
                self.jobs.put_nowait(job)
        while uploads and self.upload():
            uploads -= 1
        self.adoption.close()
        if self.process_spool.unfinished():
            self.process_spool.close()
        else:
            self._spool.retire(self.process_spool)


def payload(number: int) -> bytes:
    """Make a payload that shows whether it was altered; every fourth goes over sectors."""
    pad = number * 7919 % (900 if number % 4 == 0 else 61)
    return b'{"id":%d,"pad":"%b"}\n' % (number, b"x" * pad)


# What ends a broken trial early; the last is a lie in a frame that is not checked.
FINDINGS = (AssertionError, NeverThroughError, struct.error)


# --- A trial --------------------------------------------------------------------------------------


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
        self.cuts = 0
        # A sync has failed somewhere: what became of its bytes nobody can tell.
        self._uncertain = False

    def run(self) -> Findings:
        """Play the trial.

        Raises:
            Exception: what no trial provokes: the code, or the model, is wrong in another way.
        """
        try:
            self._play()
            self._drain()
            return self._judge()
        except FINDINGS as error:
            return Findings(lost=[], twice=[], faults=[f"{type(error).__name__}: {error}"])

    def _play(self) -> None:
        for _ in range(self._rng.randint(1, 3)):
            self._live()

    def _live(self) -> None:
        """Go on until a death, with two processes at times, the first perhaps from before."""
        rng = self._rng
        # Until then, or until nothing is left to do.
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
        self._check_ledgers(process)

    def _act(self, process: Process) -> None:
        """Let one process do one thing, and then its ledgers balance."""
        self._acting = process
        acts: list[tuple[int, Callable[[Process], object]]] = [
            (9, self._accept),
            (3, Process.commit),
            (3, Process.seal),
            (6, Process.upload),
            (1, Process.adopt),
            (1, self._weather),
        ]
        (act,) = self._rng.choices([act for _, act in acts], [weight for weight, _ in acts])
        act(process)
        self._collect_answers()
        self._check_ledgers(process)

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
        """Die where most depends on it: between an append and the answer, or soon after."""
        self._fuse.left = self._rng.randrange(1, 15)
        self._accept(process)
        process.commit()

    def _overflow(self, process: Process) -> None:
        """Accept more than there is room for; death comes right after, or on the way."""
        self._disk.room = None
        while process.upload():
            pass
        process.seal()
        self._send(process, stream="a", count=1)
        process.commit()
        self._disk.room = self._rng.randrange(50, 1000)
        if self._rng.random() < 0.3:
            self._fuse.left = self._rng.randrange(1, 15)
        for _ in range(self._rng.randint(2, 10)):
            self._send(process, stream="a", count=1)
        process.commit()

    def _stop(self, process: Process) -> None:
        process.stop(self._rng.randrange(4))

    def _weather(self, process: Process) -> None:
        """Fill the disk, or empty it; write ledgers back; rarely, let the disk fail."""
        del process
        kind = self._rng.random()
        if kind < 0.5:
            self._disk.room = self._rng.choice((None, None, 0, self._rng.randrange(3000)))
        elif kind < 0.96:
            for ledger in self._spool.ledgers.values():
                ledger.flush()
        else:
            self._disk.failing = self._uncertain = True

    def _collect_answers(self) -> None:
        """See what clients were told. Who dies without an answer has been told nothing."""
        for process in self._processes:
            waiting = []
            for asked in process.asked:
                if not asked.future.done:
                    waiting.append(asked)
                else:
                    self._take_answer(asked)
            process.asked = waiting

    def _take_answer(self, asked: Asked) -> None:
        try:
            asked.future.result()
        except NotDurable:
            # After a failed sync the collection may be on the disk, and the refusal cannot help it.
            if not self._uncertain:
                self.refused.update(asked.ids)
            return
        places = (
            Place(receipt.header.key, receipt.first_line + n)
            for receipt in asked.receipts
            for n in range(receipt.count)
        )
        self.acknowledged.update(zip(asked.ids, places, strict=True))

    def _die(self) -> None:
        """End by a power cut, a kill of everybody, or a kill of whoever acted last."""
        kind = self._rng.random()
        if kind < 0.6:
            self._cut_power()
        others = [process for process in self._processes if process is not self._acting]
        if self._disk.failing:
            # A file system that fails tells each at its next sync; nobody goes on upon it.
            others = []
        self._dead_letter(survivors=others if kind > 0.85 and self._acting is not None else [])

    def _cut_power(self) -> None:
        self.cuts += 1
        self._disk.power_cut()
        for ledger in self._spool.ledgers.values():
            if self._rng.random() < 0.5:
                ledger.power_cut()

    def _dead_letter(self, *, survivors: list[Process]) -> None:
        self._processes = survivors
        self._spool.owned &= {
            process_spool.path.name for alive in survivors for process_spool in alive.process_spools
        }
        self._disk.failing = False

    def _drain(self) -> None:
        """With nothing left to go wrong but S3, one more process brings everything home."""
        self._disk.room = None
        self._dead_letter(survivors=[])
        self._start()
        (last,) = self._processes
        for _ in range(MAX_ROUNDS):
            last.adopt()
            last.seal()
            while last.upload():
                pass
            self._check_ledgers(last)
            if (
                self._disk.names(ROOT) == [last.process_spool.path.name]
                and last.process_spool.empty
            ):
                return last.stop(0)
        raise AssertionError("what is left is never uploaded")

    def _check_ledgers(self, process: Process) -> None:
        """Hold that pending, which nobody counts, is what the files and segments hold."""
        for process_spool in process.process_spools:
            counted = (
                process_spool.counters[Field.ACCEPTED]
                - process_spool.counters[Field.STORED]
                - process_spool.counters[Field.DEAD]
            )
            held = sum(segment.lines for segment in process_spool.unfinished())
            held += sum(
                (file.read_seal() or (file.survey().lines, 0))[0] for file in process_spool.backlog
            )
            assert counted == held, f"the ledger says {counted} pending, and there are {held}"

    def _judge(self) -> Findings:
        found: dict[int, list[Place]] = {}
        strange = []
        for place, line in self._bucket.lines():
            match = PAYLOAD.fullmatch(line)
            if match and payload(number := int(match[1])) == line + b"\n":
                found.setdefault(number, []).append(place)
            # After a failed sync a line that was refused may be half there; it is then left empty.
            elif line or not self._uncertain:
                strange.append(f"{place} is nobody's payload: {line[:60]!r}")
        misplaced = (
            f"{number} is at {found[number]}, not at {place}"
            for number, place in self.acknowledged.items()
            if number in found and found[number] != [place]
        )
        return Findings(
            lost=[number for number in self.acknowledged if number not in found],
            twice=[number for number, places in found.items() if len(places) > 1],
            faults=[
                *strange,
                *misplaced,
                *(f"{number} was refused, and is stored" for number in self.refused & set(found)),
                *self._judge_ledger(stored=sum(map(len, found.values()))),
            ],
        )

    def _judge_ledger(self, *, stored: int) -> Iterable[str]:
        spool = self._spool
        if not self._uncertain:
            yield from (f"quarantined without damage: {name}" for name in spool.quarantined)
            if spool.dead or spool.count(Field.DEAD):
                yield f"the ledger: {spool.count(Field.DEAD)} dead, where nothing may die"
        accepted, dead = spool.count(Field.ACCEPTED), spool.count(Field.DEAD)
        counted = spool.count(Field.STORED)
        if accepted != counted + dead:
            yield f"the ledger: accepted {accepted}, stored {counted}, dead {dead}"
        # Only a power cut takes counters back; a kill does not.
        if not self.cuts and counted != stored:
            yield f"the ledger: {counted} stored, and in S3 there are {stored}"
