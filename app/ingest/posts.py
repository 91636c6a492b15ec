"""Answers every POST of payloads under the engine: begun with a whole body, finished by callback.

No thread waits. Flask's route for any other WSGI server gives byte for byte the same answers; both
stand on `IngestHandler`.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from app.http.content_encoding import inflate
from app.http.problems import Problem, TooLarge
from app.http.responses import Answer, Finisher, failure, fault, refusal
from app.ingest.arrival import Arrival
from app.ingest.handler import SMALL_BODY_BYTES, IngestHandler
from app.ingest.idempotency import IdempotentRequest, Replayed
from app.ingest.known_key import KnownKey
from app.ingest.preferences import Preferences, preferences_of
from app.logs import request_id, take_request_id
from workers.segments.future import DurabilityFuture, OwnedCallback

log = logging.getLogger(__name__)

# A larger body is decoded in a thread: one this large that expands to `SMALL_BODY_BYTES` at most
# takes well under a millisecond.
INLINE_ENCODED_BYTES = 1 << 16


class Post(Protocol):
    """A POST of payloads whose body is here."""

    stream: str
    content_type: str
    content_encoding: str
    # The `Prefer` header, "" where there is none.
    prefer: str
    # The `Idempotency-Key` header, None where there is none.
    idempotency_key: str | None
    # None for the plain way to /payloads, where everything is open.
    arrival: Arrival | KnownKey | None

    @property
    def sent_id(self) -> str | None:
        """The request id that the client sent."""

    def send(self, answer: Answer) -> None:
        """Send the response."""

    def release(self) -> None:
        """Take note that the body is not needed any more."""


class Tasks(Protocol):
    """Threads that work off a queue."""

    def submit(self, run: Callable[[], None], *, refuse: Callable[[Problem], None]) -> None:
        """Have one of two called in a thread, once: `refuse` if it is too late for `run`."""


class Posts:
    """Safe to share between threads.

    A small body is dealt with in the thread that brings it. `small` is for small bodies whose
    payloads are validated by a schema, which takes up to a second of a thread; `large` for bodies
    that are large, or become so when they are decoded, one after the other; `keyed` for those whose
    idempotency key is claimed over the network.
    """

    def __init__(
        self,
        handler: IngestHandler,
        *,
        finisher: Finisher,
        small: Tasks,
        large: Tasks,
        keyed: Tasks,
    ) -> None:
        self._handler = handler
        self._is_plain = handler.is_plain
        self._finisher = finisher
        self._small = small
        self._large = large
        self._keyed = keyed

    def begin(self, post: Post, body: bytes) -> None:
        """Take a whole body; its response is sent later, perhaps by the committer's thread.

        Does not block, and does not raise.
        """
        if post.arrival is not None:
            post.arrival.body_arrived(len(body))
        if len(body) > SMALL_BODY_BYTES:
            self._submit(self._large, post, body)
        elif post.content_encoding:
            self._begin_encoded(post, body)
        elif self._handler.validates:
            self._submit(self._small, post, body)
        elif self._is_plain and not (post.arrival or post.prefer):
            if post.idempotency_key is None:
                self._accept_plain(post, body)
            else:
                self._accept_keyed(post, body, post.idempotency_key)
        else:
            self._accept(post, body, "")

    def refuse(self, post: Post, problem: Problem) -> None:
        """Answer a request whose body did not come, or cannot be taken."""
        post.release()
        self._finisher.send(
            lambda: _add_headers(post, refusal(problem)), sent_id=post.sent_id, send=post.send
        )

    def fail(self, post: Post, error: Exception) -> None:
        """Answer a request that failed by a fault of ours."""
        self.refuse(post, fault(error))

    def _begin_encoded(self, post: Post, body: bytes) -> None:
        """Decode a body here if it is small and stays so."""
        arrival = post.arrival
        # Webhooks are signed as they were sent.
        is_raw = isinstance(arrival, Arrival) and arrival.way.webhook is not None
        if len(body) <= INLINE_ENCODED_BYTES and not (self._handler.validates or is_raw):
            try:
                decoded = inflate(
                    body, encoding=post.content_encoding, limit=self._handler.small_bytes
                )
            except TooLarge:
                pass
            except Problem as problem:
                self.refuse(post, problem)
                return
            else:
                self._accept(post, decoded, "")
                return
        self._submit(self._large, post, body)

    def _submit(self, tasks: Tasks, post: Post, body: bytes) -> None:
        tasks.submit(
            lambda: self._accept(post, body, post.content_encoding, may_block=True),
            refuse=lambda problem: self.refuse(post, problem),
        )

    def _accept_plain(self, post: Post, body: bytes) -> None:
        """Take a body as most are, with nothing to do but to keep its payloads."""
        pending = PendingAnswer(self, post, take_request_id(post.sent_id), None)
        try:
            self._handler.take_plain(post.stream, body, kind=post.content_type, callback=pending)
        except Exception as error:  # noqa: BLE001 (the client gets an answer for any error)
            self._finish(pending, failure(error))
        post.release()
        request_id.set(None)

    def _accept_keyed(self, post: Post, body: bytes, key: str) -> None:
        """Take such a body with an idempotency key."""
        pending = PendingAnswer(self, post, take_request_id(post.sent_id), None)
        keyed: IdempotentRequest | None = None
        try:
            keyed = self._handler.idempotent(None, post.stream, key)
            if keyed is None or keyed.is_remote:
                self._accept_in_thread(post, body, "")
                return
            self._take_keyed(pending, body, keyed)
        except Exception as error:  # noqa: BLE001 (the client gets an answer for any error)
            if keyed is not None:
                keyed.release()
            self._finish(pending, failure(error))
        post.release()
        request_id.set(None)

    def _take_keyed(self, pending: "PendingAnswer", body: bytes, keyed: IdempotentRequest) -> None:
        post = pending.post
        try:
            keyed.begin(body)
        except Replayed as replayed:
            self._handler.replay(replayed.replay, pending)
            return
        stream, kind, claim = post.stream, post.content_type, keyed.claim
        if claim is not None and claim.found:
            self._handler.take(stream, body, content_type=kind, callback=pending, keyed=keyed)
        else:
            self._handler.take_plain(stream, body, kind=kind, callback=pending, claim=claim)
            keyed.hand_over()

    def _accept(
        self, post: Post, body: bytes, content_encoding: str, *, may_block: bool = False
    ) -> None:
        chosen = take_request_id(post.sent_id)
        preferences = preferences_of(post.arrival, post.prefer) if post.prefer else None
        pending = PendingAnswer(self, post, chosen, preferences)
        keyed: IdempotentRequest | None = None
        try:
            if post.idempotency_key is not None or isinstance(post.arrival, Arrival):
                keyed = self._handler.idempotent(post.arrival, post.stream, post.idempotency_key)
                if keyed is not None and keyed.is_remote and not may_block:
                    self._accept_in_thread(post, body, content_encoding)
                    return
            answer = self._take(pending, body, content_encoding, keyed)
        except Exception as error:  # noqa: BLE001 (the client gets an answer for any error)
            answer = failure(error)
        if keyed is not None:
            keyed.release()
        if answer is not None:
            self._finish(pending, answer)
        post.release()
        request_id.set(None)

    def _accept_in_thread(self, post: Post, body: bytes, content_encoding: str) -> None:
        request_id.set(None)
        self._keyed.submit(
            lambda: self._accept(post, body, content_encoding, may_block=True),
            refuse=lambda problem: self.refuse(post, problem),
        )

    def _take(
        self,
        pending: "PendingAnswer",
        body: bytes,
        content_encoding: str,
        keyed: IdempotentRequest | None,
    ) -> Answer | None:
        """Take a body; return its response if that is not a matter of durability."""
        post = pending.post
        if not isinstance(post.arrival, Arrival):
            self._handler.take(
                post.stream,
                body,
                content_type=post.content_type,
                content_encoding=content_encoding,
                callback=pending,
                preferences=pending.preferences,
                keyed=keyed,
            )
            return None
        taken = self._handler.take_arrival(
            post.arrival,
            body,
            content_encoding=content_encoding,
            callback=pending,
            preferences=pending.preferences,
            keyed=keyed,
        )
        return taken if isinstance(taken, Answer) else None

    def on_done(self, callback: "PendingAnswer", future: DurabilityFuture) -> None:
        """Answer a collection that is durable, or turned out not to be."""
        self._finish(callback, self._answer(callback, future))

    def on_group_done(self, done: Sequence[tuple["PendingAnswer", DurabilityFuture]]) -> None:
        """Answer the collections of a group."""
        answers = [(pending, self._answer(pending, future)) for pending, future in done]
        for pending, answer in answers:
            _add_headers(pending.post, answer)
        self._finisher.finish_all([(answer, pending.request_id) for pending, answer in answers])
        for pending, answer in answers:
            try:
                pending.post.send(answer)
            except Exception:
                log.exception("a response failed")

    def _answer(self, pending: "PendingAnswer", future: DurabilityFuture) -> Answer:
        arrival = pending.post.arrival
        try:
            answer = self._handler.answer(future, pending.preferences)
            return answer if arrival is None else arrival.accepted(answer)
        except Exception as error:  # noqa: BLE001 (the client gets an answer for any error)
            request_id.set(pending.request_id)
            answer = failure(error)
            request_id.set(None)
            return answer

    def _finish(self, pending: "PendingAnswer", answer: Answer) -> None:
        post = pending.post
        if post.arrival is not None:
            _add_headers(post, answer)
        self._finisher.finish(answer.status, answer.headers, request_id=pending.request_id)
        post.send(answer)


class PendingAnswer(OwnedCallback):
    """A POST whose collection is on its way to durability."""

    post: Post
    request_id: str
    preferences: Preferences | None


def _add_headers(post: Post, answer: Answer) -> Answer:
    if post.arrival is not None:
        answer.headers.extend(post.arrival.finish(answer.status))
    return answer
