"""The chaos runs: the real service, under load, hurt at random for some seconds and then judged.

Each is a function of its `Terms` that returns its `Figures`. Knows the service by its signals, its
settings and its HTTP contract.
"""

import contextlib
import http.client
import itertools
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from tests.chaos import model
from tests.support import wait_until
from tests.support.flood import Flood, Plan
from tests.support.oracle import Verdict, judge
from tests.support.s3 import FakeS3, Fault
from tests.support.service import Service, await_end

SETTINGS: Mapping[str, object] = {
    "OBJECT_MAX_AGE_SECONDS": 0.2,
    "OBJECT_MAX_PAYLOADS": 200,
    "WEB_CONCURRENCY": 2,
    "MAX_WORKERS": 4,
    "DRAIN_SECONDS": 5,
}
FAULTY = (
    Fault(kind="error", probability=0.2),
    Fault(kind="lose_answer", probability=0.15),
    Fault(kind="reset", probability=0.05),
    # Carried out late, be the process that sent it dead or alive.
    Fault(kind="slow", probability=0.05, seconds=1.0),
)
LOADS = (
    Plan(threads=2, payloads=(1, 20), pause_seconds=0.004, streams=("a", "b")),
    Plan(threads=2, payloads=(1, 20), pause_seconds=0.004, form="ndjson", gzip=True),
)
# What a restart changes, in turn: nothing of it may touch what is spooled already.
CHANGES: Sequence[Mapping[str, object]] = (
    {"COMPRESSION": "zstd", "KEY_TEMPLATE": "z/{stream}/{segment}.ndjson.zst"},
    {"DURABILITY": "memory", "WEB_CONCURRENCY": 3},
    {"COMPRESSION": "none", "KEY_TEMPLATE": "{date}/{hour}/{segment}", "LINE_FORMAT": "envelope"},
    {"DURABILITY": "disk", "WEB_CONCURRENCY": 1, "OBJECT_MAX_PAYLOADS": 20},
    {"COMPRESSION": "gzip", "KEY_TEMPLATE": "", "WEB_CONCURRENCY": 2, "LINE_FORMAT": "payload"},
)
SETTLE_SECONDS = 120.0
LOAD_SECONDS = 60.0
STOP_SECONDS = 30.0
WATCH_SECONDS = 0.1
RECEIPTS_ASKED = 50
TMPFS_BYTES = 2 << 20
HOUR = 3600.0
MODEL_TRIALS_PER_SECOND = 120
# S3 is away for this part of an outage's run.
OUTAGE_SHARE = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long a run hurts, by which chance, where, on which engine; whom it tells how far it is.

    `progress` is called with the faults and the payloads acknowledged so far, None if not known.
    """

    seconds: float
    seed: int
    workdir: Path
    engine: str = "granian"
    progress: Callable[[int, int | None], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a run found: payloads but for the faults."""

    name: str
    # Kills, signals, outages, cuts; and the requests that S3 failed on purpose.
    faults: int = 0
    s3_faults: int = 0
    acknowledged: int = 0
    lost: int = 0
    stored_twice: int = 0
    refused_but_stored: int = 0
    # Not where the receipt says, or not as it was sent.
    misplaced: int = 0
    ledger_ok: bool = True
    # All that is wrong, in words.
    complaints: Sequence[str] = ()
    # Why there is nothing to say.
    skipped: str = ""

    @property
    def clean(self) -> bool:
        """Whether every promise was kept, and there was one to keep."""
        wrong = self.lost or self.stored_twice or self.refused_but_stored or self.misplaced
        kept = self.ledger_ok and not wrong and not self.complaints
        return bool(self.skipped) or (kept and self.faults > 0 and self.acknowledged > 0)


Run = Callable[[Terms], Figures]


class CannotMountError(Exception):
    """This person, or this machine, may not mount a file system."""


class Upgradable(Service):
    """A service that SIGUSR2 can replace while it runs."""

    master = 0

    def start(self) -> None:
        """Start the processes; does not wait for them.

        Raises:
            RuntimeError: they run already.
        """
        super().start()
        self.master = self.pid

    def restart(self) -> None:
        """Start (again), and wait until ready."""
        self.start()
        self.wait_ready()

    def kill_one(self, rng: random.Random) -> None:
        """SIGKILL one process that is not the master; blocks until there is one, and it is gone."""
        wait_until(lambda: bool(self.children()), timeout=STOP_SECONDS, what="a process to kill")
        self.kill_random_child(rng)

    def kill_and_start(self) -> None:
        """SIGKILL every process, and start; does not wait until ready."""
        self.kill_group()
        self.start()

    def change(self, settings: Mapping[str, object]) -> None:
        """SIGTERM; when every process has ended, start again with these settings changed."""
        self.signal_master(signal.SIGTERM)
        for pid in self.processes():
            await_end(pid, STOP_SECONDS)
        self.settings.update({name: str(value) for name, value in settings.items()})
        self.restart()

    def signal_master(self, number: signal.Signals) -> None:
        """Send a signal to whichever process is the master now."""
        os.kill(self.master, number)

    def upgrade(self, side_by_side_seconds: float) -> None:
        """SIGUSR2: a new master and its processes; then SIGTERM to the old. Blocks until it ended.

        See https://docs.gunicorn.org/en/stable/signals.html, "Upgrading to a new binary on the fly"
        """
        promoted = self._promoted()
        self.signal_master(signal.SIGUSR2)
        wait_until(lambda: bool(self._heirs()), timeout=STOP_SECONDS, what="the new master")
        heir = self._heirs()[0]
        time.sleep(side_by_side_seconds)
        self.signal_master(signal.SIGTERM)
        await_end(self.master, STOP_SECONDS)
        self.master = heir
        # Until it knows that the old one is gone it would take no other SIGUSR2.
        what = "the new master to take over"
        wait_until(lambda: self._promoted() > promoted, timeout=STOP_SECONDS, what=what)

    def _promoted(self) -> int:
        return self.log_path.read_text(errors="replace").count("Master has been promoted")

    def _heirs(self) -> list[int]:
        """Return the children of the master that have as many children as a master has."""
        parents = [parent_of(pid) for pid in self.children()]
        wanted = int(self.settings["WEB_CONCURRENCY"])
        return [
            pid
            for pid in self.children()
            if parent_of(pid) == self.master and parents.count(pid) >= wanted
        ]


def parent_of(pid: int) -> int:
    """Read a process's parent from /proc/<pid>/stat (proc(5)); 0 if it is gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


class Watch:
    """Asks the services for their ledger all along, and keeps what does not balance."""

    def __init__(self, services: Sequence[Service], acknowledged: Callable[[], int]) -> None:
        self.complaints: list[str] = []
        self.samples = 0
        self._services = services
        self._acknowledged = acknowledged
        self._last: dict[str, int] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(WATCH_SECONDS):
            for service in tuple(self._services):
                # Killed a moment ago, or not up yet: nobody promised an answer.
                with contextlib.suppress(OSError, http.client.HTTPException):
                    self._ask(service)

    def _ask(self, service: Service) -> None:
        before = self._acknowledged()
        answer = service.get("/stats")
        if answer.status == http.client.OK:
            self.check(answer.json(), acknowledged=before)
        else:
            self.complaints.append(f"ledger: {answer.status} {answer.body!r}")

    def check(self, stats: Mapping[str, Any], *, acknowledged: int) -> None:
        """Hold one answer against what clients knew before it, and against the answer before."""
        self.samples += 1
        accepted, stored = stats["accepted"], stats["stored"]
        balances = accepted == stored + stats["pending"] + stats["dead"]
        went_back = [name for name, value in self._last.items() if stats[name] < value]
        self._last = {"accepted": accepted, "stored": stored}
        if not balances or stats["pending"] < 0 or stats["dead"] or went_back:
            self.complaints.append(f"ledger: {stats}, went back: {went_back}")
        if accepted < acknowledged:
            self.complaints.append(f"ledger: {stats}, but {acknowledged} were acknowledged before")


class Siege:
    """One run's scene: an S3, services, floods against them, a watch; and the blows they take.

    As a context manager it begins with one service, and ends every process and thread.
    """

    def __init__(self, name: str, terms: Terms, **settings: object) -> None:
        self.name = name
        self.rng = random.Random(terms.seed)
        self.services: list[Upgradable] = []
        self.floods: list[Flood] = []
        self.s3 = FakeS3(seed=terms.seed)
        # What gunicorn says of a process that was killed; the beginnings of events.
        self.expected_errors: tuple[str, ...] = ("Worker (pid:",)
        self._faults = 0
        self._terms = terms
        place = {"SPOOL_DIR": terms.workdir / "spool", "ENGINE": terms.engine}
        self._settings = {**SETTINGS, **place, **settings}
        self._watch = Watch(self.services, lambda: self.acknowledged)
        self._began = self._ends = 0.0
        self._scene = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.s3)
            stack.callback(self._end_services)
            stack.callback(self._end_floods)
            self.add_service()
            stack.enter_context(self._watch)
            self._scene = stack.pop_all()
        self._began = time.monotonic()
        self._ends = self._began + self._terms.seconds
        return self

    def __exit__(self, *_: object) -> None:
        self._scene.close()

    def add_service(self) -> Upgradable:
        """Start one more service on the same spool, and the floods against it."""
        directory = self._terms.workdir / f"service-{len(self.services)}"
        directory.mkdir(parents=True)
        service = Upgradable(directory, self.s3, settings=self._settings)
        self.services.append(service)
        service.restart()
        for load in LOADS:
            prefix = f"{self._terms.seed}-{len(self.floods)}"
            plan = replace(load, seconds=HOUR, timeout_seconds=STOP_SECONDS, prefix=prefix)
            self.floods.append(Flood(service.port, plan))
            self.floods[-1].start()
        return service

    @property
    def acknowledged(self) -> int:
        """Payloads answered 202 so far."""
        return sum(flood._payloads["acked"] for flood in self.floods)

    def blows(self, shortest: float, longest: float, *, least: int = 1) -> Iterator[float]:
        """Yield until the time is up, after a random rest each, how much of the time is gone.

        `least` times at least: on a busy machine the start alone may take all the time there is.
        """
        while (now := time.monotonic()) < self._ends or self._faults < least:
            time.sleep(self.rng.uniform(shortest, longest))
            yield (now - self._began) / self._terms.seconds
            self._faults += 1
            if self._terms.progress:
                self._terms.progress(self._faults, self.acknowledged)

    def await_load(self, payloads: int = 100) -> None:
        """Block until so many more payloads are acknowledged: the next blow meets some work."""
        flood = self.floods[0]
        flood.wait_for("acked", flood._payloads["acked"] + payloads, timeout=LOAD_SECONDS)

    def await_refusals(self, payloads: int = 100) -> None:
        """Block until so many more payloads are refused: the service is full."""
        flood = self.floods[0]
        flood.wait_for("refused", flood._payloads["refused"] + payloads, timeout=LOAD_SECONDS)

    def figures(self) -> Figures:
        """End the floods, mend S3, wait until nothing is pending, and judge all that was said."""
        s3_faults = sum(self.s3.counts().faults.values())
        self._end_floods()
        self.s3.clear()
        self.s3.listen_again()
        unsettled = list(self._settle())
        verdict = judge(self.floods, self.s3)
        ledger = [*self._watch.complaints, *self._unbalanced(verdict)]
        others = (
            self._logged(),
            self._left_in_spool(),
            self._overwritten(),
            self._not_stored_by_receipt(),
        )
        found = [str(verdict)] if verdict.faults else []
        return Figures(
            name=self.name,
            faults=self._faults,
            s3_faults=s3_faults,
            acknowledged=verdict.acked,
            lost=len(verdict.lost),
            stored_twice=len(verdict.twice),
            refused_but_stored=len(verdict.refused_but_stored),
            misplaced=len(verdict.misplaced) + len(verdict.altered),
            ledger_ok=not ledger,
            complaints=[*found, *unsettled, *ledger, *itertools.chain(*others)],
        )

    def _settle(self) -> Iterator[str]:
        """See that every service runs and has nothing pending."""
        for service in self.services:
            if not service.processes():
                service.restart()
            try:
                service.wait_stats(lambda stats: stats["pending"] == 0, timeout=SETTLE_SECONDS)
            except AssertionError as error:
                yield str(error)

    def _unbalanced(self, verdict: Verdict) -> Iterator[str]:
        """Hold the last ledger, of each service, against the bucket."""
        lines = len(self.s3.lines())
        if not self._watch.samples:
            yield "ledger: nobody could be asked for it"
        for service in self.services:
            stats = service.stats()
            if not lines == verdict.stored == stats["stored"] == stats["accepted"]:
                yield f"ledger: {stats}, but {lines} lines in the bucket, {verdict.stored} of ours"
            if not verdict.acked <= stats["accepted"] <= verdict.acked + verdict.unknown:
                yield f"ledger: {stats}, but {verdict.acked} were acknowledged"

    def _logged(self) -> list[str]:
        """Return what was logged as an error and is not simply the news of a kill."""
        events = [event for service in self.services for event in service.logs().events]
        return [
            f"log: {event}"
            for event in events
            if event["level"] in {"ERROR", "CRITICAL"}
            and not event["event"].startswith(self.expected_errors)
        ]

    def _left_in_spool(self) -> list[str]:
        spool = self.services[0].spool_dir
        patterns = ("dead/*", "quarantine/*", "*/*.open", "*/*.ready")
        return [f"spool: {path}" for pattern in patterns for path in spool.glob(pattern)]

    def _overwritten(self) -> list[str]:
        """Return the objects that more than one PUT took effect on."""
        objects = self.s3.objects().items()
        return [f"bucket: {key} was overwritten" for key, kept in objects if kept.stored_count != 1]

    def _not_stored_by_receipt(self) -> Iterator[str]:
        """Ask for some receipts of each flood, early ones and late ones."""
        for flood in self.floods:
            receipts = [receipt for outcome in flood.outcomes for receipt in outcome.receipts]
            for receipt in self.rng.sample(receipts, min(RECEIPTS_ASKED, len(receipts))):
                answer = self.services[0].get(f"/receipts/{receipt.id}").json()
                if answer.get("state") != "stored" or answer.get("object") != receipt.object:
                    yield f"receipt: {answer}"

    def _end_floods(self) -> None:
        for flood in self.floods:
            flood.stop()
        for flood in self.floods:
            flood.join()

    def _end_services(self) -> None:
        for service in self.services:
            service.kill_group()


# --- The runs -------------------------------------------------------------------------------------


def killed_processes(terms: Terms) -> Figures:
    """Kill -9 one gunicorn process after another, at random, with an S3 that often fails."""
    with Siege("kill -9 of processes", terms, WEB_CONCURRENCY=3) as siege:
        siege.s3.faults(*FAULTY)
        for _ in siege.blows(0.05, 0.8):
            siege.services[0].kill_one(siege.rng)
        return siege.figures()


def killed_group(terms: Terms) -> Figures:
    """Kill -9 all processes at once under load, start again, and so on."""
    with Siege("kill -9 of the group", terms) as siege:
        siege.s3.faults(*FAULTY)
        for _ in siege.blows(0.0, 0.5):
            siege.await_load()
            siege.services[0].kill_group()
            siege.services[0].restart()
        return siege.figures()


def two_services(terms: Terms) -> Figures:
    """Run two services on one spool, each killed and started again at random."""
    with Siege("two services, one spool", terms) as siege:
        siege.s3.faults(*FAULTY)
        siege.add_service()
        for _ in siege.blows(0.0, 0.5):
            service = siege.rng.choice(siege.services)
            if not service.processes():
                service.restart()
            elif siege.rng.random() < 0.5:
                service.kill_one(siege.rng)
            else:
                service.kill_group()
        return siege.figures()


def rolling_restart(terms: Terms) -> Figures:
    """Renew the processes under load by SIGHUP, SIGUSR2 and restarts with other settings."""
    with Siege("rolling restart", terms) as siege:
        siege.s3.faults(*FAULTY)
        service = siege.services[0]
        changes = itertools.cycle(CHANGES)
        acts: tuple[Callable[[], None], ...] = (
            *[lambda: service.signal_master(signal.SIGHUP)] * 3,
            lambda: service.upgrade(side_by_side_seconds=siege.rng.uniform(0.1, 1.0)),
            lambda: service.change(next(changes)),
        )
        blows = siege.blows(0.0, 0.7, least=len(acts))
        for _, act in zip(blows, itertools.cycle(acts), strict=False):
            siege.await_load()
            act()
        return siege.figures()


def backoff(terms: Terms) -> Figures:
    """Take S3 away for most of the time, and kill processes and groups meanwhile."""
    with Siege("S3 outage with kills", terms) as siege:
        siege.s3.stop_listening()
        service = siege.services[0]
        for gone in siege.blows(0.1, 1.0):
            if gone > OUTAGE_SHARE:
                siege.s3.listen_again()
            if siege.rng.random() < 0.7:
                service.kill_one(siege.rng)
            else:
                service.kill_group()
                service.restart()
        return siege.figures()


def full_disk(terms: Terms) -> Figures:
    """Fill a small tmpfs by an outage of S3, again and again; S3's return is all that helps."""
    name = "full disk"
    spool = terms.workdir / "tmpfs"
    try:
        with tmpfs(spool), Siege(name, terms, SPOOL_DIR=spool) as siege:
            siege.expected_errors += ("commit failed",)
            service = siege.services[0]
            acts: tuple[Callable[[], None], ...] = (
                lambda: None,
                lambda: service.kill_one(siege.rng),
                service.kill_and_start,
            )
            blows = siege.blows(0.0, 0.5, least=len(acts))
            for _, act in zip(blows, itertools.cycle(acts), strict=False):
                siege.s3.stop_listening()
                siege.await_refusals()
                act()
                siege.s3.listen_again()
                siege.await_load()
            return siege.figures()
    except CannotMountError as error:
        return Figures(name=name, skipped=str(error))


@contextlib.contextmanager
def tmpfs(path: Path) -> Iterator[None]:
    """Have a file system of `TMPFS_BYTES` at `path`.

    Raises:
        CannotMountError: it cannot be had here.
    """
    path.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES},mode=700", "tmpfs", str(path)]
    try:
        subprocess.run(mount, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = (getattr(error, "stderr", None) or str(error)).splitlines()[0]
        raise CannotMountError(f"needs root and a tmpfs: {why}") from error
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


def power_cuts(terms: Terms) -> Figures:
    """Run the power-cut model: a simulated disk that forgets what was not synced."""
    trials = round(terms.seconds * MODEL_TRIALS_PER_SECOND)
    progress = terms.progress
    found = model.run_model(trials, terms.seed, progress and (lambda done: progress(done, None)))
    return Figures(
        name="power cuts (model)",
        faults=found.cuts,
        acknowledged=found.acknowledged,
        lost=found.lost,
        stored_twice=found.stored_twice,
        ledger_ok=not any("ledger" in fault for fault in found.faults),
        complaints=found.faults,
    )


RUNS: Mapping[str, Run] = {
    "processes": killed_processes,
    "group": killed_group,
    "two-services": two_services,
    "rolling": rolling_restart,
    "outage": backoff,
    "full-disk": full_disk,
    "power-cuts": power_cuts,
}
