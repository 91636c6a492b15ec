"""Takes one job to S3: compress, PUT, verify, finish. One attempt; runs in a worker's thread.

Knows the bucket, the store and the counters; no queue, no thread and no retry.
"""

import errno
import json
import logging
import time
from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from workers.dispatch.jobs import Job, Outcome
from workers.errors import (
    Abandoned,
    BucketBrigadeError,
    ObjectMissing,
    ObjectRejected,
    StoreError,
    StoreUnavailable,
)
from workers.segments.naming import dead_marker
from workers.segments.ratios import Estimator
from workers.segments.segment import Body, Header, Segment
from workers.spool.counters import Field
from workers.spool.frames import Damaged, UnknownFormat
from workers.stores.store import Store
from workers.upload.compression import Packed, ReadRuns, pack
from workers.upload.s3 import Bucket
from workers.upload.verified_put import NewObject, VerifiedPut

log = logging.getLogger(__name__)

# First and last line of each range that damage took.
Lost = list[tuple[int, int]]
MAX_LOST_RANGES = 50


class OtherLines(BucketBrigadeError):
    """What a segment's body holds is not what was counted when it was accepted."""


class Uploader:
    """What every worker does with a job. One for the process; thread-safe.

    `bucket_for` says which bucket a segment goes to, None where it becomes a dead letter.
    """

    def __init__(
        self,
        bucket: Bucket,
        *,
        store: Store,
        bucket_for: Callable[[Header], str | None],
        estimator: Estimator,
        memory_bytes: int,
        on_done: Callable[[Job], None],
        on_stored: Callable[[Job, int], None] = lambda _, __: None,
    ) -> None:
        self._bucket = bucket
        self._objects = VerifiedPut(bucket)
        self._store = store
        self._bucket_for = bucket_for
        self._estimator = estimator
        self._memory_bytes = memory_bytes
        self._on_done = on_done
        # Called with a job that is finished, and the bytes of its object if it has one.
        self._on_stored = on_stored

    def upload(self, job: Job) -> None:
        """Make one attempt to store the job's payloads, or to make a dead letter of them. Blocks.

        After a verified PUT the next attempt only repeats the removal.

        Raises:
            StoreUnavailable: S3 did not take them; it may later.
            UnreadableDecision: see there.
            OSError: the spool could not be read or written.
            Abandoned: the lines stay where they are until the next start.
        """
        segment = job.segment
        segment.frozen.wait()
        if not segment.lines:
            job.outcome = Outcome(stored=0, dead=0)
        if job.outcome is not None:
            self._finish(job)
            return
        if not segment.body.make_ready():
            raise Abandoned("its file could not be frozen; it stays for the next start")
        bucket = self._bucket_for(segment.header)
        if bucket is None:
            self._dead_letter(job, reason="an operator has buried it")
            return
        if bucket != segment.header.bucket:
            segment.header = msgspec.structs.replace(segment.header, bucket=bucket)
        packed, lost = self._pack(job)
        dead = sum(last - first + 1 for first, last in lost)
        if lost and self._is_stored_whole(segment):
            dead = 0
        elif dead < segment.lines:
            try:
                self._put_object(job, packed, lost)
            except ObjectRejected as error:
                self._dead_letter(job, reason=str(error))
                return
        job.outcome = Outcome(stored=segment.lines - dead, dead=dead)
        self._finish(job)
        self._on_stored(job, packed.body.length)
        log.info("stored", extra=_about(segment, stored_bytes=packed.body.length))

    def _is_stored_whole(self, segment: Segment) -> bool:
        """Whether an earlier PUT stored the segment before its file was damaged."""
        try:
            found = self._bucket.head(segment.header.bucket, segment.header.key)
        except ObjectMissing:
            return False
        about = found.metadata
        return (
            about.get("segment") == segment.name
            and about.get("payloads") == str(segment.lines)
            and about.get("size") == str(segment.size)
            and about.get("stored-size") == str(found.size)
            and "lost-lines" not in about
        )

    def _finish(self, job: Job) -> None:
        """Count what became of the job's lines and remove them; repeatable until it succeeds."""
        outcome = job.outcome
        assert outcome is not None
        self._store.finish(job, stored=outcome.stored, dead=outcome.dead)
        if job.segment.lines:
            self._on_done(job)

    def _pack(self, job: Job) -> tuple[Packed, Lost]:
        """Compress the lines. Those that damage took are empty, so that all keep their numbers."""
        segment = job.segment
        lost: Lost = []
        try:
            packed = self._compress(segment, segment.body.runs)
            _check(segment, packed)
        except OSError as error:
            if error.errno == errno.EIO:
                log.critical("a segment cannot be read", extra=_about(segment), exc_info=True)
            raise
        except UnknownFormat as error:
            log.critical("a segment has an unknown format", extra=_about(segment), exc_info=True)
            raise Abandoned("another version wrote it; it stays as it is") from error
        except (Damaged, OtherLines) as damage:
            self._store.quarantine(segment, str(damage))
            packed = self._compress(segment, partial(_readable, segment.body, segment.lines, lost))
            log.exception("segment damaged", extra=_about(segment, lost_lines=lost))
        self._estimator.learn(segment, size=packed.size, stored=packed.body.length)
        return packed, lost

    def _compress(self, segment: Segment, read: ReadRuns) -> Packed:
        compression = segment.header.compression
        return pack(read, compression=compression, memory_bytes=self._memory_bytes)

    def _put_object(self, job: Job, packed: Packed, lost: Lost) -> None:
        """Put the object and verify it.

        Raises:
            StoreUnavailable, ObjectRejected: see there.
        """
        counters = self._store.counters
        try:
            self._put(job, packed, _metadata(job.segment, packed, lost))
        except StoreUnavailable as error:
            counters.add(Field[f"PUT_FAILURES_{error.reason.upper()}"])
            job.was_sent = error.was_sent
            raise
        counters.add(Field.STORED_OBJECTS)
        counters.add(Field.STORED_BYTES, packed.body.length)

    def _put(self, job: Job, packed: Packed, metadata: dict[str, str]) -> None:
        counters = self._store.counters
        started = time.monotonic()
        try:
            if self._objects.store(NewObject(job.segment.header, packed.body, metadata)):
                counters.add(Field.CONFLICTS)
        except StoreUnavailable:
            if packed.body.failure is not None:
                # The spool failed, not S3: the lines could not be read a second time.
                raise packed.body.failure from None
            raise
        counters.observe_put(time.monotonic() - started)

    def _dead_letter(self, job: Job, *, reason: str) -> None:
        """Make a dead letter of the job: its object cannot be stored."""
        segment = job.segment
        self._store.keep_dead(job, reason)
        job.outcome = Outcome(stored=0, dead=segment.lines)
        self._finish(job)
        log.error("dead letter", extra=_about(segment, reason=reason))
        note = json.dumps({"reason": reason, "payloads": segment.lines}).encode() + b"\n"
        try:
            self._bucket.put_note(segment.header.bucket, dead_marker(segment.name), note)
        except StoreError as error:
            log.warning("other machines cannot see this dead letter", extra={"error": str(error)})


def _check(segment: Segment, packed: Packed) -> None:
    if packed.size != segment.size:
        raise OtherLines(f"{packed.size} bytes are there, {segment.size} were accepted")


def _readable(body: Body, lines: int, lost: Lost) -> Iterator[bytes]:
    lost.clear()
    return body.read_damaged(lines, lost)


def _metadata(segment: Segment, packed: Packed, lost: Lost) -> dict[str, str]:
    """Say in an object's metadata whose it is, and what it holds if it is whole."""
    metadata = {
        "segment": segment.name,
        "payloads": str(segment.lines),
        "size": str(packed.size),
        "crc32": f"{packed.crc:08x}",
        "stored-size": str(packed.body.length),
    }
    if lost:
        # S3 takes 2 KB of metadata: of very many ranges, one that covers them all.
        shown = lost if len(lost) <= MAX_LOST_RANGES else [(lost[0][0], lost[-1][1])]
        metadata["lost-lines"] = ",".join(f"{first}-{last}" for first, last in shown)
    return metadata


def _about(segment: Segment, **more: object) -> dict[str, object]:
    return {
        "segment": segment.name,
        "object": f"s3://{segment.header.bucket}/{segment.header.key}",
        "payloads": segment.lines,
        **more,
    }
