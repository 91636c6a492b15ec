"""Machines that share a queue, in a random order of steps, with every fault of fencing and leases.

The server, its scripts and the stores are the real ones; threads, time and S3 are not: a step is a
call, leases expire when the trial says so, and an answer is lost by not looking at it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.integration.queue.machine import Machine
from workers.dispatch.jobs import Job
from workers.errors import NotConfirmed, QueueUnavailable, QueueUnconfirmed, Refusal
from workers.queue.redis_watermark import RedisProgress
from workers.segments.naming import created_microseconds
from workers.segments.segment import Segment
from workers.upload.compression import pack
from workers.upload.reading import decompress

STEPS = 120
COMPRESSIONS = ("none", "gzip", "zstd")


class Broken(Exception):
    """A promise did not hold."""


@dataclass
class Bucket:
    """Objects that are put on condition that there is none; what differs is no success."""

    objects: dict[str, bytes] = field(default_factory=dict)

    def put(self, key: str, body: bytes) -> None:
        """Put an object, or see that the one that is there is the same.

        Raises:
            Broken: another one is there.
        """
        found = self.objects.setdefault(key, body)
        if found != body:
            raise Broken(f"two uploads of {key} differ")


@dataclass
class Upload:
    """A job in a worker's hands, and whether its object is there."""

    machine: Machine
    job: Job
    body: bytes | None = None


class Trial:
    """One random run. `finish_first` is a mutant: a job is finished before its object is there."""

    def __init__(
        self, seed: int, make: Callable[[], Machine], *, finish_first: bool = False
    ) -> None:
        self.random = random.Random(seed)
        self.make = make
        self.machines = [make() for _ in range(3)]
        self.client = self.machines[0].server
        self.bucket = Bucket()
        self.finish_first = finish_first
        self.open: dict[Machine, Segment] = {}
        self.uploads: list[Upload] = []
        self.kept: set[bytes] = set()
        self.refused: set[bytes] = set()
        self.number = 0
        self.progress = RedisProgress(self.client, seconds=1)
        # Each watermark, and the keys that were in the bucket when it was published.
        self.published: list[tuple[int, set[str]]] = []

    def run(self) -> None:
        """Do the steps, then let all be uploaded, and judge.

        Raises:
            Broken: a promise did not hold.
        """
        steps = self.steps()
        for _ in range(STEPS):
            self.random.choice(steps)()
        self.settle()
        # All stand still for good; another one takes over.
        self.expire("leased")
        self.expire("writers")
        heir = self.make()
        while jobs := heir.take():
            for job in jobs:
                self.finish_upload(Upload(heir, job))
        self.judge()

    def steps(self) -> list[Callable[[], None]]:
        """Return what may happen, as often as it is likely."""
        steps = [self.append] * 5 + [self.append_without_answer] * 2 + [self.seal] * 2
        steps += [self.take] * 3 + [self.put] * 4 + [self.finish] * 4
        return [*steps, self.expire_leases, self.expire_writers, self.publish]

    def settle(self) -> None:
        """Do what clients do until they are done."""

    def line(self) -> bytes:
        """Return the next payload."""
        self.number += 1
        return b'{"n":%d}\n' % self.number

    def segment_of(self, machine: Machine) -> Segment:
        """Return a machine's open segment, a new one where it has none or lost it."""
        segment = self.open.get(machine)
        if segment is None or segment.write_failed:
            if segment is not None:
                machine.seal(segment)
            kind = COMPRESSIONS[self.number % len(COMPRESSIONS)]
            segment = self.open[machine] = machine.open(compression=kind)
            if self.random.random() < 0.1:
                self.publish()
        return segment

    def append(self) -> None:
        """Append one payload."""
        machine = self.random.choice(self.machines)
        line = self.line()
        self.note(line, machine.refused((self.segment_of(machine), line)))

    def append_without_answer(self) -> None:
        """Append one payload; the first answer is lost, and perhaps the second too."""
        machine = self.random.choice(self.machines)
        segment, line = self.segment_of(machine), self.line()
        lose = self.random.choice([1, 1, 2])
        run = machine.server.script

        def losing(name: str, *arguments: bytes, confirmed: bool = False) -> object:
            nonlocal lose
            answer = run(name, *arguments, confirmed=confirmed)
            if name == "append" and lose:
                lose -= 1
                if self.random.random() < 0.4:
                    self.go_on_elsewhere()
                raise QueueUnconfirmed("no answer")
            return answer

        machine.server.script = losing  # type: ignore[method-assign, assignment]
        try:
            self.note(line, machine.refused((segment, line)))
        finally:
            del machine.server.script

    def go_on_elsewhere(self) -> None:
        """Take over what writers have open, and upload some of it."""
        self.expire("writers")
        machine = self.random.choice(self.machines)
        uploads = [Upload(machine, job) for job in machine.take()]
        if self.random.random() < 0.5:
            for upload in uploads:
                self.finish_upload(upload)
        else:
            self.uploads += uploads

    def note(self, line: bytes, refusal: Refusal | None) -> None:
        """Note what the client was told."""
        if refusal is None:
            self.kept.add(line)
        elif not isinstance(refusal, NotConfirmed):
            self.refused.add(line)

    def seal(self) -> None:
        """Seal a machine's open segment."""
        machine = self.random.choice(self.machines)
        segment = self.open.pop(machine, None)
        if segment is not None:
            machine.seal(segment)

    def take(self) -> None:
        """Let a machine lease what is due."""
        machine = self.random.choice(self.machines)
        self.uploads += [Upload(machine, job) for job in machine.take()]

    def put(self) -> None:
        """Put the object of a job."""
        if self.uploads:
            self.put_object(self.random.choice(self.uploads))

    def put_object(self, upload: Upload) -> None:
        """Make a job's object and put it, unless another worker has finished the job."""
        segment = upload.job.segment
        try:
            packed = pack(
                segment.body.runs, compression=segment.header.compression, memory_bytes=1 << 20
            )
        except QueueUnavailable:
            self.drop(upload)
            return
        upload.body = b"".join(packed.body.chunks())
        self.bucket.put(segment.header.key, upload.body)

    def finish(self) -> None:
        """Finish a job whose object is there."""
        ready = [one for one in self.uploads if one.body is not None or self.finish_first]
        if ready:
            upload = self.random.choice(ready)
            upload.machine.finish(upload.job)
            self.drop(upload)

    def finish_upload(self, upload: Upload) -> None:
        """Put and finish a job at once."""
        self.put_object(upload)
        if upload.body is not None:
            upload.machine.finish(upload.job)

    def drop(self, upload: Upload) -> None:
        """Forget a job."""
        if upload in self.uploads:
            self.uploads.remove(upload)

    def expire_leases(self) -> None:
        """Let every worker have stood still for longer than its leases."""
        self.expire("leased")

    def expire_writers(self) -> None:
        """Let every writer have stood still for longer than its lease."""
        self.expire("writers")

    def publish(self) -> None:
        """Publish the watermark."""
        found = self.progress.advance()
        assert found is not None
        self.published.append((found.through, set(self.bucket.objects)))

    def expire(self, key: str) -> None:
        """Let leases have expired."""
        key = f"{self.client.prefix}{key}"
        for name in self.client.call("ZRANGE", key, 0, -1):
            self.client.call("ZADD", key, 1, name)

    def judge(self) -> None:
        """See that every promise held.

        Raises:
            Broken: one did not.
        """
        objects = map(decompress, self.bucket.objects.values())
        stored = b"".join(objects).splitlines(keepends=True)
        if len(stored) != len(set(stored)):
            raise Broken("stored twice")
        if lost := self.kept - set(stored):
            raise Broken(f"lost {len(lost)}")
        if found := self.refused & set(stored):
            raise Broken(f"refused, and stored all the same: {len(found)}")
        for through, there in self.published:
            created = {key: created_microseconds(key.split("/")[1]) for key in self.bucket.objects}
            if late := {key for key in created if created[key] < through} - there:
                raise Broken(f"the watermark said {through}, and {late} came later")
        accepted, counted, pending, dead = self.machines[0].ledger()
        if (accepted, pending, dead) != (counted, 0, 0) or counted != len(stored):
            raise Broken(f"the ledger: {accepted} {counted} {pending} {dead}, {len(stored)} stored")
