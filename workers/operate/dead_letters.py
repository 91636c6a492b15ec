"""Dead letters as a person sees them: listed, read, and given back to the service.

A replay makes a home of its own in the spool, which any running process adopts like a dead one's.
"""

import contextlib
import json
from dataclasses import dataclass
from typing import Any

import msgspec

from workers.errors import BucketBrigadeError, StoreError
from workers.operate.receipts import dead_marker
from workers.segments.naming import NAME
from workers.segments.segment import Header
from workers.spool.counters import Field
from workers.spool.spool import DEAD, Spool
from workers.upload.s3 import Bucket


class NoSuchDeadLetter(BucketBrigadeError):
    """There is no dead letter of that name."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter: the note beside it (reason, key, payloads) and its lines."""

    note: dict[str, Any]
    lines: bytes


class DeadLetters:
    """The dead letters of a spool. Methods block on the disk."""

    def __init__(self, spool: Spool, *, bucket: Bucket) -> None:
        self._spool = spool
        self._bucket = bucket
        self._directory = spool.root / DEAD

    def all(self) -> list[dict[str, Any]]:
        """Return every letter's note, oldest first."""
        return [json.loads(path.read_bytes()) for path in sorted(self._directory.glob("*.json"))]

    def read(self, name: str) -> DeadLetter:
        """Read one letter.

        Raises:
            NoSuchLetter: there is none.
        """
        path = self._directory / f"{name}.json"
        if not NAME.fullmatch(name) or not path.exists():
            raise NoSuchDeadLetter(f"no dead letter {name}")
        return DeadLetter(json.loads(path.read_bytes()), path.with_suffix(".ndjson").read_bytes())

    def replay(self, name: str) -> int:
        """Turn a letter back into a segment on its way to S3; return its number of payloads.

        Safe to repeat: a replay cut short and done again stores the same object once.

        Raises:
            NoSuchLetter: there is none.
        """
        dead_letter = self.read(name)
        payloads: int = dead_letter.note["payloads"]
        under_way = self._spool.find(name)
        if under_way is not None and under_way.suffix != ".json":
            self._spool.drop_dead(name)
            return payloads
        header = msgspec.convert(dead_letter.note, Header)
        process_spool = self._spool.create_process_spool()
        # They were accepted, and dead, elsewhere: here they are dead no more.
        process_spool.counters[Field.DEAD] = -payloads
        file = process_spool.new_file(name)
        file.append(header, [(1, dead_letter.lines)])
        file.sync()
        file.seal(lines=payloads, size=len(dead_letter.lines))
        process_spool.counters[Field.DURABLE] = 1
        process_spool.counters.flush()
        self._spool.drop_dead(name)
        process_spool.close()
        with contextlib.suppress(StoreError):
            self._bucket.delete(header.bucket, dead_marker(name))
        return payloads
