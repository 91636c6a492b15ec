"""The model's trials with keys: what is not answered is sent again, to any process, until it is."""

from hashlib import sha256
from typing import Any

from tests.chaos.model.findings import Findings, Place
from tests.chaos.model.process import PendingAnswer, Process, payload
from tests.chaos.model.trial import MAX_ROUNDS, Trial
from workers.errors import KeyInUse, NotDurable, Refusal
from workers.keys.claim import Claim, Replay
from workers.keys.records import KeyEntry, digest_of
from workers.keys.taking import left_of
from workers.segments.partitions import Indexes, Part

KEYED_SHARE, RETRY_SHARE = 0.7, 0.4


class KeyedTrial(Trial):
    """Lives in which most requests have a key. Each payload is stored once, and each key answered.

    `answered` has the places that a key's first answer named; every other names the same.
    """

    def __init__(self, seed: int, **parts: Any) -> None:
        super().__init__(seed, **parts)
        self.answered: dict[int, dict[int, Place]] = {}
        # By their first payload, which is their key: stream and payloads.
        self._requests: dict[int, tuple[str, list[int]]] = {}
        self._claims: dict[int, tuple[int, Claim]] = {}
        self.replays = 0
        self._broken: list[str] = []

    def run(self) -> Findings:
        """Play the trial; a key that is never answered, or answered otherwise, is a fault."""
        found = super().run()
        found.faults.extend(self._broken)
        open_keys = self._requests.keys() - self.answered.keys()
        if not found.faults:
            found.faults.extend(f"{key} is never answered" for key in sorted(open_keys))
        return found

    def _send(self, process: Process, *, stream: str, count: int) -> None:
        if self._rng.random() > KEYED_SHARE:
            super()._send(process, stream=stream, count=count)
            return
        if self._requests and self._rng.random() < RETRY_SHARE:
            self._send_keyed(process, self._rng.choice(list(self._requests)))
            return
        key = self._sent
        self._sent += count
        self._requests[key] = stream, list(range(key, key + count))
        self._send_keyed(process, key)

    def _send_keyed(self, process: Process, key: int) -> None:
        stream, ids = self._requests[key]
        lines = b"".join(map(payload, ids))
        try:
            claimed = process.keys.claim(digest_of(str(key)), sha256(lines).digest())
        except KeyInUse:
            return
        if isinstance(claimed, Replay):
            self.replays += 1
            self._note(key, claimed.entries, [])
            return
        try:
            future = process.intake.take_parts(
                left_of(claimed, [Part(stream, lines, len(ids))]), claim=claimed
            )
        except Refusal:
            claimed.release()
            return
        self._claims[id(future)] = key, claimed
        process.asked.append(PendingAnswer(ids, future.receipts(), future))

    def _take_answer(self, asked: PendingAnswer) -> None:
        keyed = self._claims.pop(id(asked.future), None)
        if keyed is None:
            super()._take_answer(asked)
            return
        try:
            asked.future.result()
        except NotDurable:
            return
        except Refusal:
            self._uncertain = True
            return
        key, claim = keyed
        at, placed = 0, []
        for run in asked.future.runs:
            ranges = run.indexes or ((at, at + run.count - 1),)
            at += run.count
            placed.append((ranges, run.segment.header.key, run.first_line))
        self._note(key, claim.found, placed)

    def _note(
        self, key: int, entries: tuple[KeyEntry, ...], placed: list[tuple[Indexes, str, int]]
    ) -> None:
        """Take note of an answer: where it says that the payloads are."""
        everything = [
            *((entry.record.covered, entry.header.key, entry.first_line) for entry in entries),
            *placed,
        ]
        places: dict[int, Place] = {}
        for ranges, object_key, line in everything:
            numbers = [n for first, last in ranges for n in range(first, last + 1)]
            places |= {key + n: Place(object_key, line + i) for i, n in enumerate(numbers)}
        if sorted(places) != self._requests[key][1]:
            self._broken.append(f"{key} is answered for {sorted(places)}")
        if self.answered.setdefault(key, places) != places:
            self._broken.append(f"{key} is answered twice, and not the same")
        self.acknowledged.update(places)

    def _drain(self) -> None:
        """Before the rest is uploaded every client is answered."""
        self._disk.room = None
        self._end_processes(survivors=[])
        self._start()
        (last,) = self._processes
        for _ in range(MAX_ROUNDS):
            last.adopt()
            for key in self._requests:
                if key not in self.answered:
                    self._send_keyed(last, key)
            last.commit()
            self._collect_answers()
            if len(self.answered) == len(self._requests):
                break
            last.seal()
            while last.upload():
                pass
        self._upload_all(last)
