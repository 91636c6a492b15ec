"""The set-up of a chaos run, and the judgement at its end.

An S3 that can fail, services on one spool, load against them and a watch over the ledger. Knows
the service by its signals, its settings and its HTTP contract.
"""

import contextlib
import itertools
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from tests.chaos.harness.figures import Figures, Terms
from tests.chaos.harness.ledger import LedgerWatch
from tests.chaos.harness.service import STOP_SECONDS, UpgradableService
from tests.support.flood import Flood, Plan
from tests.support.oracle import Verdict, judge
from tests.support.s3 import FakeS3, Fault

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
    # It takes effect late, whether or not the process that sent it still lives.
    Fault(kind="slow", probability=0.05, seconds=1.0),
)
LOAD = Plan(threads=2, payloads=(1, 20), pause_seconds=0.004, refused_pause_seconds=0.02)
LOADS = (replace(LOAD, streams=("a", "b")), replace(LOAD, form="ndjson", gzip=True))
SETTLE_SECONDS = 120.0
LOAD_SECONDS = 60.0
RECEIPTS_ASKED = 50
HOUR = 3600.0
# Objects that hold no payloads, and are written again and again.
NOTES = "_watermark/"


def is_settled(stats: dict[str, Any]) -> bool:
    """Tell whether all is stored; a segment is counted before its file goes, and is the oldest."""
    return bool(stats["pending"] == stats["oldest_unstored_seconds"] == 0)


class Experiment:
    """The set-up of one run: an S3, services, load against them, and a watch over the ledger.

    As a context manager it begins with one service, and ends every process and thread.
    """

    loads: Sequence[Plan] = LOADS
    flood: type[Flood] = Flood

    def __init__(self, name: str, terms: Terms, **settings: object) -> None:
        self.name = name
        self.rng = random.Random(terms.seed)
        self.services: list[UpgradableService] = []
        self.floods: list[Flood] = []
        self.s3 = FakeS3(seed=terms.seed)
        # What gunicorn says of a process that was killed; the beginnings of events.
        self.expected_errors: tuple[str, ...] = ("Worker (pid:",)
        self._faults = 0
        self._terms = terms
        place = {"SPOOL_DIR": terms.workdir / "spool", "ENGINE": terms.engine}
        self._settings = {**SETTINGS, **place, **settings}
        self._watch = LedgerWatch(self.services, lambda: self.acknowledged)
        self._began = self._ends = 0.0
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.s3)
            stack.callback(self._end_services)
            stack.callback(self._end_floods)
            self.add_service()
            stack.enter_context(self._watch)
            self._resources = stack.pop_all()
        self._began = time.monotonic()
        self._ends = self._began + self._terms.seconds
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def add_service(self) -> UpgradableService:
        """Start one more service on the same spool, and the floods against it."""
        directory = self._terms.workdir / f"service-{len(self.services)}"
        directory.mkdir(parents=True)
        service = UpgradableService(
            directory, self.s3, settings=self._settings, launch=self._terms.launch
        )
        self.services.append(service)
        service.restart()
        for load in self.loads:
            prefix = f"{self._terms.seed}-{len(self.floods)}"
            plan = replace(load, seconds=HOUR, timeout_seconds=STOP_SECONDS, prefix=prefix)
            self.floods.append(self.flood(service.port, plan))
            self.floods[-1].start()
        return service

    @property
    def acknowledged(self) -> int:
        """Payloads answered 202 so far."""
        return sum(flood.count("acked") for flood in self.floods)

    def rounds(self, shortest: float, longest: float, *, least: int = 1) -> Iterator[float]:
        """Yield how much of the time is gone, until all of it is; pause at random before each.

        At least `least` times: on a busy machine the start alone may take all the time there is.
        """
        while (now := time.monotonic()) < self._ends or self._faults < least:
            time.sleep(self.rng.uniform(shortest, longest))
            yield (now - self._began) / self._terms.seconds
            self._faults += 1
            if self._terms.progress:
                self._terms.progress(self._faults, self.acknowledged)

    def await_load(self, payloads: int = 100) -> None:
        """Block until so many more payloads are acknowledged, so that a fault meets work."""
        flood = self.floods[0]
        flood.wait_for("acked", flood.count("acked") + payloads, timeout=LOAD_SECONDS)

    def await_refusals(self, payloads: int = 100) -> None:
        """Block until so many more payloads are refused: the service is full."""
        flood = self.floods[0]
        flood.wait_for("refused", flood.count("refused") + payloads, timeout=LOAD_SECONDS)

    def figures(self) -> Figures:
        """End the floods, repair S3, wait until nothing is pending, and judge every answer."""
        s3_faults = sum(self.s3.counts().faults.values())
        self._end_floods()
        self.s3.clear()
        self.s3.listen_again()
        unsettled = list(self._settle())
        verdict = judge(self.floods, self.s3)
        ledger = [*self.watched(), *self.unbalanced(verdict)]
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
            not_confirmed=verdict.unknown,
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
                service.wait_stats(is_settled, timeout=SETTLE_SECONDS)
            except AssertionError as error:
                yield str(error)

    def watched(self) -> Sequence[str]:
        """Return what the watch over the ledger has seen."""
        return self._watch.complaints

    def unbalanced(self, verdict: Verdict) -> Iterator[str]:
        """Hold the last ledger, of each service, against the bucket."""
        lines = sum(not key.startswith(NOTES) for key, _, _ in self.s3.lines())
        if not self._watch.samples:
            yield "ledger: no service ever answered /stats"
        for service in self.services:
            stats = service.stats()
            if not lines == verdict.stored == stats["stored"] == stats["accepted"]:
                yield f"ledger: {stats}, but {lines} lines in the bucket, {verdict.stored} of ours"
            if not verdict.acked <= stats["accepted"] <= verdict.acked + verdict.unknown:
                yield f"ledger: {stats}, but {verdict.acked} were acknowledged"

    def _logged(self) -> list[str]:
        """Return the errors that were logged, but for those that a kill explains."""
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
        return [
            f"bucket: {key} was overwritten"
            for key, kept in objects
            if kept.stored_count != 1 and not key.startswith(NOTES)
        ]

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
