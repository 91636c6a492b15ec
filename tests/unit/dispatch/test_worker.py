"""The worker: idle, busy, idle again; a job that fails is parked, and never dropped."""

import gc
import queue
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.dispatch.parking import park
from workers.dispatch.backlog import Backlog
from workers.dispatch.jobs import Job
from workers.dispatch.worker import Worker
from workers.errors import Abandoned, StoreUnavailable
from workers.segments.segment import Header, MemoryBody, Segment

HEADER = Header(name="n", stream="s", bucket="b", key="k", compression="none")


class WorkerFixture:
    """What a worker works with: jobs that wait in its channel, and a record of what it did."""

    def __init__(self, upload: Callable[[Job], None], *, jobs: int) -> None:
        self.backlog = Backlog(park=park, on_change=lambda: None, clock=lambda: 0.0)
        self.idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.changes: list[int] = []
        self.settled = 0
        self.bodies: list[weakref.ref[MemoryBody]] = []
        # Whether each job's lines were gone when the worker was idle again.
        self.let_go: list[bool] = []
        self.worker = Worker(
            idle=self.idle,
            upload=upload,
            backlog=self.backlog,
            on_idle=self.on_idle,
            on_settled=self.on_settled,
        )
        for _ in range(jobs):
            self.give()
        self.worker._channel.put(None)

    def give(self) -> None:
        """Put one more job into the worker's channel."""
        body = MemoryBody()
        self.bodies.append(weakref.ref(body))
        nowhere: Any = None
        segment = Segment(HEADER, body)
        segment.frozen.set()
        self.worker._channel.put(Job(segment, nowhere))

    def on_idle(self, change: int) -> None:
        """Take note."""
        done = self.changes.count(-1)
        if change == 1 and done:
            gc.collect()
            self.let_go.append(self.bodies[done - 1]() is None)
        self.changes.append(change)

    def on_settled(self) -> None:
        """Take note."""
        self.settled += 1


def test_a_worker_offers_its_channel_for_each_job() -> None:
    """Idle, busy, idle: the channel is offered once before each job, and once at the end."""
    seen: list[Job] = []
    fixture = WorkerFixture(seen.append, jobs=2)
    fixture.worker.run()
    assert len(seen) == fixture.settled == 2
    assert fixture.changes == [1, -1, 1, -1, 1, -1]
    assert fixture.idle.qsize() == 3
    assert fixture.idle.get() is fixture.worker._channel


def test_an_idle_worker_holds_no_payloads() -> None:
    """A finished job's segment is free while the worker waits for the next one."""
    fixture = WorkerFixture(lambda _: None, jobs=3)
    fixture.worker.run()
    assert fixture.let_go == [True, True, True]


@pytest.mark.parametrize("error", [ValueError(), OSError(), StoreUnavailable("", reason="other")])
def test_a_job_that_fails_is_parked(error: Exception) -> None:
    """An error that was not foreseen costs one attempt and a line in the log, and not the job."""

    def upload(_: Job) -> None:
        raise error

    fixture = WorkerFixture(upload, jobs=2)
    fixture.worker.run()
    assert sum(fixture.backlog.counts().values()) == fixture.settled == 2


def test_a_job_that_is_given_up_is_not_tried_again() -> None:
    """What stays on the disk for the next start is not parked, and the next job is taken."""
    tried: list[Job] = []

    def upload(job: Job) -> None:
        tried.append(job)
        raise Abandoned("its file could not be frozen")

    fixture = WorkerFixture(upload, jobs=3)
    fixture.worker.run()
    assert len(tried) == fixture.settled == 3
    assert fixture.backlog.is_empty


def test_at_a_stop_no_attempt_begins() -> None:
    """Once there will be no other try none begins, and jobs pass through to STOP."""
    tried: list[Job] = []
    fixture = WorkerFixture(tried.append, jobs=3)
    fixture.backlog.give_up()
    fixture.worker.run()
    assert tried == []
    assert fixture.settled == 3
    assert fixture.backlog.is_empty
