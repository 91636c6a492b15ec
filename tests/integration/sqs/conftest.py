"""Processes of a service on SQS, without threads."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.integration.queue.machine import runs_of
from tests.support.bench import settings_for
from tests.support.sqs.fixtures import sqs
from tests.support.sqs.server import SqsServer
from workers.dispatch.jobs import Job
from workers.figures.machine import MachineCounters
from workers.segments.future import DurabilityFuture
from workers.segments.naming import segment_name
from workers.segments.segment import Header, Segment
from workers.sqs.opening import open_queue

__all__ = ["sqs"]
_names = count(1_700_000_000_000_000)


class Machine:
    """A store, a committer whose `step` is called at once, and a job source."""

    def __init__(self, tmp_path: Path, server: SqsServer, **given: str) -> None:
        environ = {"DURABILITY": "queue", "RECEIPT_SECRET": "s", **server.environ(), **given}
        self.store, self.committer, self.jobs = open_queue(
            settings_for(tmp_path, **environ), MachineCounters()
        )

    def open(self) -> Segment:
        """Open a segment."""
        name = segment_name(next(_names))
        return self.store.create(
            Header(name=name, stream="s", bucket="b", key=f"s/{name}", compression="none")
        )

    def append(self, *lines: tuple[Segment, bytes]) -> DurabilityFuture:
        """Append one collection."""
        return self.committer.append(runs_of(lines))

    def seal(self, *segments: Segment) -> None:
        """End segments, and send them together."""
        for segment in segments:
            self.committer.seal(segment)
        self.committer.step()

    def accept(self, lines: bytes = b'{"n":1}\n') -> DurabilityFuture:
        """Accept a collection that is a segment of its own."""
        segment = self.open()
        future = self.append((segment, lines))
        self.seal(segment)
        return future

    def take(self) -> list[Job]:
        """Receive what is there."""
        self.jobs.look(stopping=lambda: False)
        found = []
        while (job := self.jobs.next()) is not None:
            found.append(job)
        return found


Make = Callable[..., Machine]


@pytest.fixture
def on(tmp_path: Path, sqs: SqsServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Make processes on the queue."""
    for name, value in sqs.environ().items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    made: list[Machine] = []

    def make(**given: str) -> Machine:
        made.append(Machine(tmp_path, sqs, **given))
        return made[-1]

    yield make
    for each in made:
        each.store.close()
