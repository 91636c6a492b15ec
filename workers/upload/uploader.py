"""Takes one job to S3: compress, PUT, verify, finish. One attempt; runs in a worker's thread.

Knows the bucket, the spool and the ledger; no queue, no thread and no retry.
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
    ObjectExists,
    ObjectMissing,
    ObjectRejected,
    StoreError,
    StoreUnavailable,
)
from workers.operate.decisions import Decisions
from workers.operate.receipts import dead_marker
from workers.segments.ratios import Estimator
from workers.segments.segment import Header, Segment
from workers.spool.counters import Field
from workers.spool.frames import Damaged, UnknownFormat
from workers.spool.segment_file import OPEN, SegmentFile
from workers.spool.spool import Spool
from workers.upload.body import ObjectBody
from workers.upload.compression import CONTENT_ENCODINGS, Packed, ReadRuns, pack
from workers.upload.decided import Decided
from workers.upload.reading import UnreadableObject, measure
from workers.upload.s3 import Bucket

log = logging.getLogger(__name__)

# First and last of lines that damage to the spool took.
Lost = list[tuple[int, int]]
MAX_LOST_RANGES = 50
# The metadata by which an object is known to be ours, whole or not.
OURS = ("segment", "payloads", "size", "crc32")


class Uploader:
    """What every worker does with a job. One for the process; safe to share."""

    def __init__(
        self,
        bucket: Bucket,
        *,
        spool: Spool,
        estimator: Estimator,
        memory_bytes: int,
        on_done: Callable[[], None],
    ) -> None:
        self._bucket = bucket
        self._spool = spool
        self._decisions = Decisions(spool.root)
        self._decided = Decided(bucket, self._decisions)
        self._estimator = estimator
        self._memory_bytes = memory_bytes
        self._on_done = on_done

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
        if job.outcome is not None:
            self._finish(job)
            return
        if not segment.lines:
            job.outcome = Outcome(stored=0, dead=0)
            self._finish(job)
            return
        if isinstance(segment.body, SegmentFile) and segment.body.path.suffix == OPEN:
            raise Abandoned("its file could not be frozen; it stays for the next start")
        bucket = self._decided.bucket_for(segment.header)
        if bucket is None:
            self._dead_letter(job, reason="an operator has buried it")
            return
        if bucket != segment.header.bucket:
            segment.header = msgspec.structs.replace(segment.header, bucket=bucket)
        packed, lost = self._pack(job)
        dead = sum(last - first + 1 for first, last in lost)
        if dead < segment.lines:
            try:
                self._store(job, packed, lost)
            except ObjectRejected as error:
                self._dead_letter(job, reason=str(error))
                return
        job.outcome = Outcome(stored=segment.lines - dead, dead=dead)
        self._finish(job)
        log.info("stored", extra=_about(segment, stored_bytes=packed.body.length))

    def _finish(self, job: Job) -> None:
        """Count what became of the job's lines and remove them; repeatable until it succeeds."""
        outcome = job.outcome
        assert outcome is not None
        if outcome.stored:
            self._spool.drop_dead(job.segment.name)
        job.process_spool.finish(job.segment, stored=outcome.stored, dead=outcome.dead)
        if job.segment.lines:
            self._on_done()

    def _pack(self, job: Job) -> tuple[Packed, Lost]:
        """Compress the lines; damage in their file costs the lines it hit and moves no other."""
        segment = job.segment
        lost: Lost = []
        try:
            packed = self._compress(segment, segment.body.read)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            log.critical("a segment cannot be read", extra=_about(segment), exc_info=True)
            raise Abandoned(
                "the disk does not give it back; it stays for the next start"
            ) from error
        except UnknownFormat as error:
            log.critical("a segment has an unknown format", extra=_about(segment), exc_info=True)
            raise Abandoned("another version wrote it; it stays as it is") from error
        except Damaged as damage:
            assert isinstance(segment.body, SegmentFile)
            self._spool.quarantine(segment.body, reason=str(damage))
            packed = self._compress(segment, partial(_readable, segment.body, segment.lines, lost))
            log.exception("segment damaged", extra=_about(segment, lost_lines=lost))
        self._estimator.learn(segment, size=packed.size, stored=packed.body.length)
        return packed, lost

    def _compress(self, segment: Segment, read: ReadRuns) -> Packed:
        compression = segment.header.compression
        return pack(read, compression=compression, memory_bytes=self._memory_bytes)

    def _store(self, job: Job, packed: Packed, lost: Lost) -> None:
        """Put the object and verify it.

        Raises:
            StoreUnavailable, ObjectRejected: see there.
        """
        counters = job.process_spool.counters
        try:
            self._put(job, packed, _metadata(job.segment, packed, lost))
        except StoreUnavailable as error:
            counters.add(Field[f"PUT_FAILURES_{error.reason.upper()}"])
            raise
        counters.add(Field.STORED_OBJECTS)
        counters.add(Field.STORED_BYTES, packed.body.length)

    def _put(self, job: Job, packed: Packed, metadata: dict[str, str]) -> None:
        header = job.segment.header
        encoding = CONTENT_ENCODINGS[header.compression]
        started = time.monotonic()
        try:
            self._bucket.put(
                header.bucket, header.key, packed.body, metadata=metadata, encoding=encoding
            )
        except ObjectExists:
            job.process_spool.counters.add(Field.CONFLICTS)
            self._verify(job, packed, metadata)
        job.process_spool.counters.observe_put(time.monotonic() - started)

    def _verify(self, job: Job, packed: Packed, metadata: dict[str, str]) -> None:
        """See whether the object under our key is ours: an earlier PUT whose answer was lost.

        The lines are compared, not the compressed bytes: another version may compress otherwise.

        Raises:
            ObjectRejected: it is somebody else's. It is left alone.
        """
        header = job.segment.header
        try:
            found = self._bucket.head(header.bucket, header.key)
        except ObjectMissing as error:
            raise StoreUnavailable("taken, then missing", reason="other") from error
        missing = [name for name in OURS if name not in found.metadata]
        if any(found.metadata.get(name, metadata[name]) != metadata[name] for name in OURS):
            raise ObjectRejected(f"the key {header.key} holds another object")
        whole = str(found.size) == found.metadata.get("stored-size")
        if missing or found.size is None:
            # Where a store, or a proxy before it, does not say, the object itself does.
            whole = self._has_our_lines(header, metadata)
            if missing and not whole:
                raise ObjectRejected(f"the key {header.key} holds another object, or part of ours")
        if not whole:
            # A store that kept half a body and called it an object.
            self._bucket.replace(
                header.bucket,
                header.key,
                packed.body,
                etag=found.etag,
                metadata=metadata,
                encoding=CONTENT_ENCODINGS[header.compression],
            )

    def _has_our_lines(self, header: Header, metadata: dict[str, str]) -> bool:
        try:
            size, crc = measure(self._bucket.read(header.bucket, header.key))
        except UnreadableObject:
            return False
        except ObjectMissing as error:
            raise StoreUnavailable("taken, then missing", reason="other") from error
        return (str(size), f"{crc:08x}") == (metadata["size"], metadata["crc32"])

    def _dead_letter(self, job: Job, *, reason: str) -> None:
        """Make a dead letter of the job: S3 will never take this object."""
        segment = job.segment
        if isinstance(segment.body, SegmentFile):
            # Whatever can be read of it, damaged or not.
            runs = segment.body.read_damaged(segment.lines, [])
        else:
            runs = segment.body.read()
        self._spool.keep_dead(segment.header, runs, reason=reason, payloads=segment.lines)
        self._decisions.drop_burial(segment.name)
        job.outcome = Outcome(stored=0, dead=segment.lines)
        self._finish(job)
        log.error("dead letter", extra=_about(segment, reason=reason))
        note = json.dumps({"reason": reason, "payloads": segment.lines}).encode() + b"\n"
        try:
            marker = dead_marker(segment.name)
            self._bucket.put(
                segment.header.bucket, marker, ObjectBody.of(note), metadata={}, encoding=None
            )
        except StoreError as error:
            log.warning("other machines cannot see this dead letter", extra={"error": str(error)})


def _readable(file: SegmentFile, lines: int, lost: Lost) -> Iterator[bytes]:
    lost.clear()
    return file.read_damaged(lines, lost)


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
        # S3 takes 2 KB of metadata: rather say too much than nothing.
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
