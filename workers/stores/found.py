"""What a store knows of a segment by its name: what a receipt is answered from, before S3."""

import json
from pathlib import Path
from typing import Literal

import msgspec

from workers.segments.segment import Segment
from workers.spool.segment_file import OPEN
from workers.spool.spool import Spool

State = Literal["accepted", "uploading", "stored", "dead"]


class Found(msgspec.Struct, frozen=True):
    """The state of one segment; `reason` says why it is dead.

    Of a stored one `size` (bytes) and `stored_at` (seconds since 1970) where they are known.
    """

    state: State
    reason: str | None = None
    size: int | None = None
    stored_at: float | None = None


def found_in_memory(segment: Segment) -> Found:
    """Say where a segment is that a process has at hand. Does not block."""
    return Found("uploading" if segment.sealed else "accepted")


def found_on_disk(spool: Spool, name: str) -> Found | None:
    """Say where a segment is by its file in the spool; None where it has none. Blocks."""
    path = spool.find(name)
    if path is None:
        return None
    if path.suffix == ".json":
        return Found("dead", reason=_reason_of(path))
    return Found("accepted" if path.suffix == OPEN else "uploading")


def _reason_of(note: Path) -> str:
    try:
        return str(json.loads(note.read_bytes())["reason"])
    except (OSError, ValueError, LookupError, TypeError):
        # It is dead all the same; a replay may have removed the note just now.
        return "its note cannot be read"
