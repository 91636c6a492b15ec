"""The model of fencing and leases with clients that send each key until it is answered.

Claims are lost when the trial says so, held while others go on, or never used; appends are lost,
answered in vain, or arrive when their client has long gone elsewhere.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256

from tests.integration.queue.machine import Machine
from tests.integration.queue.model.trial import Broken, Trial
from workers.errors import KeyInUse, QueueUnconfirmed
from workers.keys.claim import Claim, Replay
from workers.keys.records import digest_of
from workers.segments.future import Run
from workers.upload.reading import decompress

# What a client was answered: segments, first lines and counts.
Places = tuple[tuple[str, int, int], ...]


@dataclass
class Request:
    """A client's request: its payload, and what it was answered."""

    digest: bytes
    line: bytes
    answer: Places | None = None

    def answered(self, runs: list[Run]) -> None:
        """Note an answer; it is the same each time.

        Raises:
            Broken: it is another one.
        """
        places = tuple((run.segment.name, run.first_line, run.count) for run in runs)
        if self.answer not in (None, places):
            raise Broken("a key was answered in two ways")
        self.answer = places


@dataclass
class Held:
    """A request whose claim its machine has, and has not used yet."""

    machine: Machine
    request: Request
    claim: Claim


@dataclass
class Late:
    """An append that is still on its way."""

    run: Callable[[], object] = field(repr=False)


class KeyedTrial(Trial):
    """One random run with keys. `keys_after` is a mutant: keys are written once data is there."""

    def __init__(self, seed: int, make: Callable[[], Machine], *, keys_after: bool = False) -> None:
        super().__init__(seed, make)
        self.keys_after = keys_after
        self.requests: list[Request] = []
        self.held: list[Held] = []
        self.late: list[Late] = []

    def steps(self) -> list[Callable[[], None]]:
        """Return what may happen, as often as it is likely."""
        keyed = [self.send] * 8 + [self.use_claim] * 4 + [self.arrive] * 2 + [self.lose_claims] * 2
        return [*super().steps(), *keyed]

    def send(self) -> None:
        """Send a request of a client's: a new one, or one that was sent before."""
        if not self.requests or self.random.random() < 0.4:
            line = self.line()
            self.requests.append(Request(digest_of("key", str(self.number)), line))
        machine, request = self.random.choice(self.machines), self.random.choice(self.requests)
        claim = self.claim(machine, request)
        if claim is None:
            return
        chance = self.random.random()
        if chance < 0.4:
            self.held.append(Held(machine, request, claim))
        elif chance < 0.95:
            self.append_keyed(Held(machine, request, claim))
        # Else its thread never goes on.

    def claim(self, machine: Machine, request: Request) -> Claim | None:
        """Claim a request's key; None where it is answered, or to be sent again."""
        machine.store.check()
        try:
            found = machine.keys.claim(request.digest, sha256(request.line).digest())
        except KeyInUse:
            return None
        if isinstance(found, Replay):
            request.answered(found.runs)
            return None
        return found

    def use_claim(self) -> None:
        """Go on with a request whose claim was held."""
        if self.held:
            held = self.random.choice(self.held)
            self.held.remove(held)
            self.append_keyed(held)

    def append_keyed(self, held: Held) -> None:
        """Append a request; perhaps the append is lost, or its answer, once or twice."""
        machine, request = held.machine, held.request
        lose = self.random.choice([0, 0, 0, 1, 2])
        with self.losing(machine, lose):
            segment = self.segment_of(machine)
            future = machine.append((segment, request.line), claim=held.claim)
        if future.exception is None:
            request.answered(list(future.runs))
            if self.keys_after:
                self.write_key(machine, held.claim, future.runs)

    @contextmanager
    def losing(self, machine: Machine, lose: int) -> Iterator[None]:
        """Lose some appends of a machine: before they are there, after, or until later."""
        run, left = machine.server.script, lose

        def script(name: str, *arguments: bytes, confirmed: bool = False) -> object:
            nonlocal left
            if name != "append" or not left:
                return run(name, *arguments, confirmed=confirmed)
            left -= 1
            chance = self.random.random()
            if chance < 0.5:
                run(name, *arguments)
            elif chance < 0.8:
                self.late.append(Late(lambda: run(name, *arguments)))
            if self.random.random() < 0.4:
                self.go_on_elsewhere()
            raise QueueUnconfirmed("no answer")

        machine.server.script = script  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            del machine.server.script

    def write_key(self, machine: Machine, claim: Claim, runs: list[Run]) -> None:
        """Write a key's record, as the mutant does it."""
        record = (1 << 31).to_bytes(4, "little") + b"".join(claim.pack(runs))
        machine.server.call("HSET", f"{machine.server.prefix}keys", claim.digest, record)

    def arrive(self) -> None:
        """Let an append arrive whose client has gone."""
        if self.late:
            late = self.random.choice(self.late)
            self.late.remove(late)
            late.run()

    def lose_claims(self) -> None:
        """Let all claims have ended by themselves."""
        self.client.call(
            "EVAL",
            "for _, each in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', each) end",
            *(1, f"{self.client.prefix}ledger", f"{self.client.prefix}claim:*"),
        )

    def settle(self) -> None:
        """Send what was not answered to another machine, until it is."""
        self.machines.append(self.make())
        while self.late and self.random.random() < 0.9:
            self.arrive()
        for request in self.requests:
            # Once more where it is answered.
            self.send_again(request)
            while request.answer is None:
                self.send_again(request)
        while self.late:
            self.arrive()
        self.expire("writers")

    def send_again(self, request: Request) -> None:
        """Send a request to the last machine, when all claims have ended."""
        self.lose_claims()
        claim = self.claim(self.machines[-1], request)
        if claim is not None:
            self.append_keyed(Held(self.machines[-1], request, claim))

    def judge(self) -> None:
        """See that each key's payload is stored once, where each of its answers says."""
        super().judge()
        for request in self.requests:
            assert request.answer is not None
            [(name, first, _)] = request.answer
            body = self.bucket.objects.get(f"s/{name}", b"")
            lines = decompress(body).splitlines(keepends=True)
            if lines[first - 1 : first] != [request.line]:
                raise Broken("a receipt names another line")
