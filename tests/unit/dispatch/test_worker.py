"""The worker: idle, busy, idle again; a job is seen through or given up, and never dropped."""

import gc
import queue
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from tests.support.bench import NoPause
from workers.dispatch.jobs import Job
from workers.dispatch.worker import Worker
from workers.errors import Abandoned
from workers.segments.segment import Header, MemoryBody, Segment

HEADER = Header(name="n", stream="s", bucket="b", key="k", compression="none")


class WorkerFixture:
    """What a worker works with: jobs that wait in its channel, and a record of what it did."""

    def __init__(self, upload: Callable[[Job], None], *, jobs: int) -> None:
        self.backoff = NoPause()
        self.idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.changes: list[int] = []
        self.bodies: list[weakref.ref[MemoryBody]] = []
        # Whether each job's lines were gone when the worker was idle again.
        self.let_go: list[bool] = []
        self.worker = Worker(
            idle=self.idle, upload=upload, backoff=self.backoff, on_idle=self.on_idle
        )
        for _ in range(jobs):
            self.give()
        self.worker._channel.put(None)

    def give(self) -> None:
        """Put one more job into the worker's channel."""
        body = MemoryBody()
        self.bodies.append(weakref.ref(body))
        nowhere: Any = None
        self.worker._channel.put(Job(Segment(HEADER, body), nowhere))

    def on_idle(self, change: int) -> None:
        """Take note."""
        done = self.changes.count(-1)
        if change == 1 and done:
            gc.collect()
            self.let_go.append(self.bodies[done - 1]() is None)
        self.changes.append(change)


def test_a_worker_offers_its_channel_for_each_job() -> None:
    """Idle, busy, idle: the channel is offered once before each job, and once at the end."""
    seen: list[Job] = []
    floor = WorkerFixture(seen.append, jobs=2)
    floor.worker.run()
    assert len(seen) == 2
    assert floor.changes == [1, -1, 1, -1, 1, -1]
    assert floor.idle.qsize() == 3
    assert floor.idle.get() is floor.worker._channel


def test_an_idle_worker_holds_no_payloads() -> None:
    """A finished job's segment is free while the worker waits for the next one."""
    floor = WorkerFixture(lambda _: None, jobs=3)
    floor.worker.run()
    assert floor.let_go == [True, True, True]


def test_whatever_goes_wrong_is_tried_again() -> None:
    """An error that nobody foresaw costs a pause and a line in the log, and not the job."""
    errors: Iterator[Exception | None] = iter([ValueError(), OSError(), None, None])
    tried: list[Job] = []

    def upload(job: Job) -> None:
        tried.append(job)
        error = next(errors)
        if error:
            raise error

    floor = WorkerFixture(upload, jobs=2)
    floor.worker.run()
    assert tried[0] is tried[1] is tried[2]
    assert len(tried) == 4
    assert floor.backoff.attempts == [1, 2]


def test_a_job_that_is_given_up_is_not_tried_again() -> None:
    """What stays on the disk for the next start costs no pause, and the next job is taken."""
    tried: list[Job] = []

    def upload(job: Job) -> None:
        tried.append(job)
        raise Abandoned("its file could not be frozen")

    floor = WorkerFixture(upload, jobs=3)
    floor.worker.run()
    assert len(tried) == 3
    assert floor.backoff.attempts == []


def test_at_a_stop_what_goes_wrong_is_given_up() -> None:
    """Once there will be no other try none begins, and jobs pass through to STOP."""
    tried: list[Job] = []
    floor = WorkerFixture(tried.append, jobs=3)
    floor.backoff.give_up()
    floor.worker.run()
    assert tried == []
    assert floor.changes[-1] == -1
