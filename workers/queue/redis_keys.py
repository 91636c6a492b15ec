"""Idempotency keys in Redis: claims that end by themselves, and what is accepted, for all machines.

A key is accepted by the append of its payloads, and by nothing else: the script writes both, or
neither where the key is there already. So a claim may be lost without harm. It lets the second of
two requests wait, where its payloads would otherwise be placed in vain.
"""

import contextlib
import threading
from collections.abc import Sequence
from typing import Any, Protocol

from workers.errors import (
    KeyInUse,
    NotConfirmed,
    QueueError,
    QueueUnavailable,
    QueueUnconfirmed,
    Refusal,
)
from workers.keys import records
from workers.keys.claim import UNDER_WAY, Claim, Replay, check_body, in_order
from workers.queue.leases import LEASE_MILLISECONDS
from workers.queue.redis_client import Arg, RedisServer
from workers.segments.future import DurabilityFuture, KeyClaim
from workers.spool.counters import Counters, Field

# A process that dies keeps a key from others for so long.
CLAIM_MILLISECONDS = 10_000
# How many keys one script drops at most: for each that is claimed, and while there is none.
DROPPED_PER_CLAIM, DROPPED_PER_SWEEP = 4, 1000
# Of the byte budget, what key records may take.
KEYS_SHARE = 4


class Appending(Protocol):
    """The store that appends what has keys."""

    # Names this process.
    writer: str
    counters: Counters
    # Why the server cannot be used now, or None.
    refusal: str | None

    @property
    def max_bytes(self) -> int:
        """The byte budget of the service."""
        ...


class RedisKeys:
    """Implements `KeyStore`. Thread-safe; `claim` and `sweep` block on the network."""

    is_remote = True

    def __init__(
        self, server: RedisServer, store: Appending, *, max_keys: int, seconds: int
    ) -> None:
        self._server = server
        self._store = store
        self._max_keys = max_keys
        self._seconds = seconds
        self._claims: set[bytes] = set()
        # Given up here, and not yet there.
        self._ended: set[bytes] = set()
        self._waiting: list[_Question] = []
        self._lock = threading.Lock()
        # Held by the thread that asks for all that wait.
        self._asking = threading.Lock()

    def claim(self, digest: bytes, body: bytes, *, compare: bool = True) -> Claim | Replay:
        """Claim a key for a request with this SHA-256 of its body; or find where it is already.

        Raises:
            KeyReused: the body is another one, and they are to be compared.
            KeyInUse: another request has the key now.
            NotConfirmed: it is accepted, and too few replicas have confirmed it.
            QueueError: the server cannot be asked now.
        """
        if self._store.refusal:
            raise QueueUnavailable(self._store.refusal)
        with self._lock:
            if digest in self._claims:
                raise KeyInUse(UNDER_WAY)
            self._claims.add(digest)
            self._ended.discard(digest)
        try:
            found = self._find(digest)
        except BaseException:
            self._end(digest, given_up=True)
            raise
        if found == 1:
            return QueuedClaim(digest, body, 0, 0, self._release)
        self._end(digest, given_up=False)
        if not isinstance(found, bytes):
            raise KeyInUse(UNDER_WAY)
        return self._replay(found, body if compare else None)

    def arguments(self, group: Sequence[DurabilityFuture]) -> list[Arg]:
        """Return what the append of a group gets for its keys; nothing where it has none."""
        found: list[Arg] = []
        for future in group:
            if future.claim is not None:
                found += [_digest(future.claim), b"".join(future.claim.pack(future.runs))]
        return [self._seconds, *found] if found else []

    def commit(self, group: Sequence[DurabilityFuture]) -> None:
        """End the claims of a group that is appended: its keys are accepted."""
        keys = [_digest(future.claim) for future in group if future.claim is not None]
        if keys:
            with self._lock:
                self._claims.difference_update(keys)

    def refuse(self, group: Sequence[DurabilityFuture], known: Sequence[int]) -> None:
        """Refuse those of a group's requests whose keys another process has accepted since."""
        keyed = [future for future in group if future.claim is not None]
        for number in known:
            keyed[int(number) - 1].set_exception(KeyInUse(UNDER_WAY))

    def sweep(self, *, is_due: bool) -> None:
        """End claims that were given up; where it `is_due` drop keys that have had their time."""
        if is_due or self._ended:
            # Otherwise claims end by themselves, and it is tried again soon.
            with contextlib.suppress(QueueError):
                self._ask([], drop=DROPPED_PER_SWEEP)

    def _find(self, digest: bytes) -> bytes | int:
        """Return what the server says of a key; those who come meanwhile share the next script."""
        mine = _Question(digest)
        with self._lock:
            self._waiting.append(mine)
        with self._asking:
            if not mine.is_answered:
                self._ask_for_all()
        if mine.error is not None:
            raise type(mine.error)(str(mine.error)) from mine.error
        return mine.answer

    def _ask_for_all(self) -> None:
        with self._lock:
            questions, self._waiting = self._waiting, []
        try:
            drop = DROPPED_PER_CLAIM * len(questions)
            answers = self._ask([each.digest for each in questions], drop=drop)
        except QueueError as error:
            for each in questions:
                each.error = error
        else:
            for each, answer in zip(questions, answers, strict=True):
                each.answer = answer
        finally:
            for each in questions:
                each.is_answered = True

    def _ask(self, digests: Sequence[bytes], *, drop: int) -> list[bytes | int]:
        with self._lock:
            ended, self._ended = self._ended, set()
        bounds = self._seconds, self._max_keys, self._store.max_bytes // KEYS_SHARE, drop
        arguments: list[Arg] = [self._store.writer, CLAIM_MILLISECONDS, *bounds]
        arguments += [len(ended), *ended, *digests]
        try:
            early, *answers = self._run(arguments)
        except BaseException:
            with self._lock:
                self._ended |= ended - self._claims
            raise
        if early:
            self._store.counters.add(Field.KEYS_DROPPED_EARLY, early)
        found: list[bytes | int] = answers
        return found

    def _run(self, arguments: Sequence[Arg]) -> Any:
        try:
            return self._server.script("claim", *arguments)
        except QueueUnconfirmed:
            # A claim that this process has already is its own again.
            return self._server.script("claim", *arguments)

    def _replay(self, found: bytes, body: bytes | None) -> Replay:
        entries = in_order(records.unpack_entries(found))
        check_body(entries, body)
        self._confirm()
        self._store.counters.add(Field.KEYS_REPLAYED)
        return Replay(entries)

    def _confirm(self) -> None:
        """See that the replicas have what was found, which its own append may not have.

        They have it if they have a later write of ours.
        """
        if self._server.replicas:
            try:
                self._server.script(
                    "renew_writer", self._store.writer, LEASE_MILLISECONDS, confirmed=True
                )
            except QueueUnconfirmed as error:
                raise NotConfirmed(str(error)) from error

    def _release(self, claim: Claim) -> None:
        self._end(claim.digest, given_up=True)

    def _end(self, digest: bytes, *, given_up: bool) -> None:
        with self._lock:
            self._claims.discard(digest)
            if given_up:
                self._ended.add(digest)


class _Question:
    """A key that a thread waits for; answered by the thread that asks for all."""

    __slots__ = ("answer", "digest", "error", "is_answered")

    def __init__(self, digest: bytes) -> None:
        self.digest = digest
        self.is_answered = False
        self.answer: bytes | int = 0
        self.error: QueueError | None = None


class QueuedClaim(Claim, eq=False, gc=False):
    """A claim in the queue, which knows the time itself."""

    def settle(self, refusal: Refusal) -> None:
        """Give the key up, also where the append may have been done: the next one finds out.

        What arrives late finds the key accepted, or accepts it; then the next one does.
        """
        del refusal
        self.release()


def _digest(claim: KeyClaim) -> bytes:
    assert isinstance(claim, Claim)
    return claim.digest
