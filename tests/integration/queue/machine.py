"""One process of a service on a queue, without threads: what it appends, and what it takes."""

from collections.abc import Iterable
from typing import Any

from tests.support.redis.server import RedisProcess
from workers.dispatch.jobs import Job
from workers.errors import Refusal
from workers.figures.machine import MachineCounters
from workers.queue.leases import Leases
from workers.queue.redis_client import RedisServer
from workers.queue.redis_jobs import RedisJobs
from workers.queue.redis_store import RedisStore
from workers.segments.future import DurabilityFuture, KeyClaim, Run
from workers.segments.naming import Clock, segment_name
from workers.segments.segment import Header, Segment
from workers.settings.queue import read_redis_url
from workers.spool.counters import Field
from workers.stores.committer import Committer

_clock = Clock()


class Machine:
    """A store, a committer before it whose `step` is called at once, and a job source."""

    def __init__(
        self,
        redis: RedisProcess,
        *,
        max_bytes: int | None = None,
        replicas: int = 0,
        most: int = 8,
        max_keys: int = 1000,
        seconds: int = 600,
        user: str = "",
        query: str = "",
    ) -> None:
        url = redis.url.replace("//", f"//{user}") + query
        self.server = RedisServer(read_redis_url(url), replicas=replicas)
        self.leases = Leases()
        self.store = RedisStore(
            self.server,
            counting=MachineCounters(),
            leases=self.leases,
            max_bytes=max_bytes,
            receipt_seconds=600,
            max_keys=max_keys,
            key_seconds=seconds,
        )
        self.keys = self.store.keys
        self.committer = Committer(self.store)
        self.jobs = RedisJobs(self.server, leases=self.leases, place=self.store, most=most)

    def open(self, stream: str = "s", *, compression: str = "none") -> Segment:
        """Open a segment; nothing of it is in the queue yet."""
        # A millisecond old: a watermark that is published now would be later.
        name = segment_name(_clock.tick() - 1000)
        key = f"{stream}/{name}"
        return self.store.create(
            Header(name=name, stream=stream, bucket="b", key=key, compression=compression)
        )

    def append(
        self, *lines: tuple[Segment, bytes], claim: KeyClaim | None = None
    ) -> DurabilityFuture:
        """Append one collection, as the intake and the committer do."""
        future = self.committer.append(runs_of(lines), claim=claim)
        self.committer.step()
        return future

    def refused(self, *lines: tuple[Segment, bytes]) -> Refusal | None:
        """Append one collection; return why it was refused, None if it was not."""
        return self.append(*lines).exception

    def seal(self, segment: Segment) -> None:
        """Seal a segment behind what was appended to it."""
        segment.sealed = True
        self.committer.seal(segment)
        self.committer.step()

    def take(self) -> list[Job]:
        """Lease what is due."""
        self.jobs.look(stopping=lambda: False)
        found = []
        while (job := self.jobs.next()) is not None:
            found.append(job)
        return found

    def finish(self, job: Job, *, dead: bool = False) -> None:
        """Finish a job, stored or as a dead letter."""
        lines = job.segment.lines
        if dead:
            self.store.keep_dead(job, "refused")
        self.store.finish(job, stored=0 if dead else lines, dead=lines if dead else 0)

    def ledger(self) -> tuple[int, int, int, int]:
        """Return accepted, stored, pending, dead."""
        totals = self.store.totals()
        return (
            totals[Field.ACCEPTED],
            totals[Field.STORED],
            totals.pending,
            totals[Field.DEAD],
        )

    def expire(self, client: Any, key: str) -> None:
        """Let every lease in `leased` or `writers` have expired."""
        for name in client.zrange(f"{self.server.prefix}{key}", 0, -1):
            client.zadd(f"{self.server.prefix}{key}", {name: 1})


def runs_of(lines: Iterable[tuple[Segment, bytes]]) -> list[Run]:
    """Reserve room for lines in their segments, as the intake does."""
    runs = []
    for segment, data in lines:
        number = data.count(b"\n")
        runs.append(Run(segment, segment.reserved_lines + 1, data, number))
        segment.reserved_lines += number
    return runs


def lines_of(job: Job) -> bytes:
    """Read a job's lines."""
    return b"".join(job.segment.body.read())
