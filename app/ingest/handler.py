"""What happens to a POST: undo its encoding, check it, hand it to the pipeline, say where it went.

Knows no Flask: every HTTP layer answers the same bytes.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence

from app.http.problems import Problem
from app.http.responses import Answer
from app.ingest.accepted import AcceptedAnswers
from app.ingest.arrival import Arrival
from app.ingest.body_reader import BodyReader
from app.ingest.formats.collection import Collection
from app.ingest.formats.decoding import decode
from app.ingest.idempotency import REPLAYED, IdempotentRequest, Replayed
from app.ingest.known_key import KnownKey
from app.ingest.preferences import MAX_WAIT_SECONDS, Preferences, preferences_of
from app.ingest.refusals import problem_of
from workers.errors import Refusal
from workers.keys.claim import Claim, Replay, ReplayedFuture
from workers.keys.taking import left_of
from workers.pipeline import Pipeline
from workers.segments.finish import Finish
from workers.segments.future import Callback, DurabilityFuture, Run
from workers.segments.partitioner import Partitioner
from workers.segments.partitions import Part
from workers.settings.settings import Settings

log = logging.getLogger(__name__)

# A larger body is decoded in a thread of its own, one at a time: that takes several times its size
# for a moment.
SMALL_BODY_BYTES = 1 << 18


class IngestHandler:
    """Accepts collections. Safe to share between threads."""

    def __init__(self, settings: Settings, *, pipeline: Callable[[], Pipeline]) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._reader = BodyReader(settings)
        self._partitioner = Partitioner.of(
            settings.key_template, event_time=settings.event_time, most=settings.max_streams
        )
        self._decoding_large = threading.Lock()
        self._accepted = AcceptedAnswers(
            durability=settings.durability,
            # The pipeline may be started later.
            issuer=lambda header: pipeline().receipts.issuer(header),  # noqa: PLW0108
        )
        # Other servers' threads may be cut off some time after the body is to have come.
        self._max_blocking_wait = min(MAX_WAIT_SECONDS, int(settings.request_seconds * 0.9))
        # Of payloads, if there is one: then each is validated, which takes its time.
        self.schema = self._reader.schema
        self.validates = self.schema is not None
        # Payloads are not validated, and not wrapped.
        self.is_plain = not self.validates and settings.line_format == "payload"
        # Decoded here and now if it stays as small as this.
        self.small_bytes = min(SMALL_BODY_BYTES, settings.max_body_bytes)

    def accept(
        self,
        arrival: Arrival,
        body: bytes,
        *,
        content_encoding: str,
        prefer: str = "",
        key: str | None = None,
    ) -> Answer:
        """Take one body; blocks until it is durable, and longer where the header `prefer` says so.

        `key` is the header Idempotency-Key.

        Raises:
            Problem: the response instead. Nothing was kept.
        """
        preferences = preferences_of(arrival, prefer, max_wait=self._max_blocking_wait)
        keyed = self.idempotent(arrival, arrival.way.stream, key)
        done: queue.SimpleQueue[DurabilityFuture] = queue.SimpleQueue()
        try:
            taken = self.take_arrival(
                arrival,
                body,
                content_encoding=content_encoding,
                callback=done.put if preferences is not None else None,
                preferences=preferences,
                keyed=keyed,
            )
        finally:
            if keyed is not None:
                keyed.release()
        if isinstance(taken, Answer):
            return taken
        if preferences is not None:
            done.get()
        else:
            # Its exception is in the answer.
            with contextlib.suppress(Refusal):
                taken.result()
        return arrival.accepted(self.answer(taken, preferences))

    def idempotent(
        self, arrival: Arrival | KnownKey | None, stream: str, header: str | None
    ) -> IdempotentRequest | None:
        """Begin with a request that has the header Idempotency-Key, or is a webhook; else None.

        Raises:
            BadRequest: the header is wrong, or not taken.
        """
        is_delivery = isinstance(arrival, Arrival) and arrival.way.webhook is not None
        if header is None and not is_delivery:
            return None
        key = None if arrival is None else arrival.key
        caller = "" if key is None else key.name
        return IdempotentRequest(self._pipeline().keys, caller=caller, stream=stream, header=header)

    def take_plain(
        self, stream: str, body: bytes, *, kind: str, callback: Callback, claim: Claim | None = None
    ) -> None:
        """Take one small body without an encoding, of a request without a preference.

        As `take` for a body of the media type `kind`, and only where `is_plain`. `claim` is on its
        key, of which nothing is accepted yet. Does not block.

        Raises:
            Problem: the response instead. Nothing was kept.
        """
        collection = decode(body, content_type=kind)
        lines, count, partitioner = collection.lines, collection.count, self._partitioner
        pipeline = self._pipeline()
        try:
            if partitioner is None or count == 1:
                partition = partitioner.partition(stream, lines) if partitioner else stream
                pipeline.take(partition, lines, count=count, callback=callback, claim=claim)
            else:
                parts = partitioner.split(stream, lines, count=count)
                pipeline.take_parts(parts, callback=callback, claim=claim)
        except Refusal as refusal:
            raise self._problem(refusal) from refusal
        if log.isEnabledFor(logging.DEBUG):
            log.debug("accepted", extra={"stream": stream, "payloads": count})

    def take(
        self,
        stream: str,
        body: bytes,
        *,
        content_type: str,
        content_encoding: str = "",
        callback: Callback | None = None,
        preferences: Preferences | None = None,
        keyed: IdempotentRequest | None = None,
    ) -> DurabilityFuture:
        """Take one body for a stream of a valid name; it has its `answer` once its future is done.

        Blocks only while another large body is decoded.

        Raises:
            Problem: the response instead. Nothing was kept.
        """
        rejected = preferences.rejected if preferences else None
        try:
            with self._one_large(body, content_encoding):
                body = self._reader.inflate(body, content_encoding)
                collection = self._reader.decode(stream, body, content_type, rejected, keyed=keyed)
        except Replayed as replayed:
            return self.replay(replayed.replay, callback, preferences)
        return self._hand_over(stream, collection, callback, preferences, keyed)

    def take_arrival(
        self,
        arrival: Arrival,
        body: bytes,
        *,
        content_encoding: str = "",
        callback: Callback | None = None,
        preferences: Preferences | None = None,
        keyed: IdempotentRequest | None = None,
    ) -> DurabilityFuture | Answer:
        """Take one body that arrived in any of the ways; an `Answer` instead is no acceptance.

        Blocks only while another large body is decoded.

        Raises:
            Problem: the response instead. Nothing was kept.
        """
        rejected = preferences.rejected if preferences else None
        try:
            with self._one_large(body, content_encoding):
                collection = self._reader.read(
                    arrival, body, content_encoding, rejected, keyed=keyed
                )
        except Replayed as replayed:
            return self.replay(replayed.replay, callback, preferences)
        if isinstance(collection, Answer):
            return collection
        return self._hand_over(arrival.way.stream, collection, callback, preferences, keyed)

    def answer(self, future: DurabilityFuture, preferences: Preferences | None = None) -> Answer:
        """Return the response to a collection whose future is done.

        Raises:
            Problem: the response instead. Nothing was kept.
        """
        if future.exception is not None:
            raise self._problem(future.exception) from future.exception
        runs: Sequence[Run] = future.runs
        if future.claim is not None:
            runs = future.claim.all_runs(runs)
        if preferences is not None:
            answer = self._accepted.preferred(runs, preferences)
        else:
            answer = self._accepted.answer(runs)
        if isinstance(future, ReplayedFuture):
            answer.headers.append(REPLAYED)
        return answer

    def _one_large(self, body: bytes, coding: str) -> contextlib.AbstractContextManager[object]:
        """Return what lets one body at a time be decoded, if it is large or may become so."""
        is_large = bool(coding) or len(body) > SMALL_BODY_BYTES
        return self._decoding_large if is_large else contextlib.nullcontext()

    def replay(
        self, replay: Replay, callback: Callback | None, preferences: Preferences | None = None
    ) -> DurabilityFuture:
        """Return the future of a request that is accepted already: done, or once it is stored."""
        future = ReplayedFuture(replay.runs, callback)
        if preferences is not None and preferences.wait is not None:
            prefer = preferences

            def ended(finish: Finish) -> None:
                prefer.finish = finish
                future.set_result()

            names = {entry.header.name for entry in replay.entries}
            self._pipeline().await_stored(names, seconds=preferences.wait, callback=ended)
            return future
        future.set_result()
        return future

    def _hand_over(
        self,
        stream: str,
        collection: Collection,
        callback: Callback | None,
        preferences: Preferences | None = None,
        keyed: IdempotentRequest | None = None,
    ) -> DurabilityFuture:
        count = collection.count
        claim = None if keyed is None else keyed.claim
        try:
            if preferences is not None and preferences.wait is not None and callback is not None:
                parts = self._parts(stream, collection, claim)
                future = self._take_and_wait(parts, callback, preferences, claim)
            elif self._partitioner is None and (claim is None or not claim.found):
                future = self._pipeline().take(
                    stream, collection.lines, count=count, callback=callback, claim=claim
                )
            else:
                parts = self._parts(stream, collection, claim)
                future = self._pipeline().take_parts(parts, callback=callback, claim=claim)
        except Refusal as refusal:
            raise self._problem(refusal) from refusal
        if keyed is not None:
            keyed.hand_over()
        if log.isEnabledFor(logging.DEBUG):
            log.debug("accepted", extra={"stream": stream, "payloads": count})
        return future

    def _parts(self, stream: str, collection: Collection, claim: Claim | None) -> Sequence[Part]:
        lines, count = collection.lines, collection.count
        if self._partitioner is None:
            parts = [Part(stream, lines, count)]
        else:
            parts = self._partitioner.split(stream, lines, count=count, wrapped=collection.wrapped)
        return parts if claim is None else left_of(claim, parts)

    def _take_and_wait(
        self,
        parts: Sequence[Part],
        callback: Callback,
        preferences: Preferences,
        claim: Claim | None,
    ) -> DurabilityFuture:
        def settled(future: DurabilityFuture, finish: Finish) -> None:
            preferences.finish = finish
            callback(future)

        return self._pipeline().take_and_wait(
            parts, seconds=preferences.wait or 0, callback=settled, claim=claim
        )

    def _problem(self, refusal: Refusal) -> Problem:
        return problem_of(refusal, retry_after=self._pipeline().retry_after)
